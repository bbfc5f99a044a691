"""Scores against numbers worked out by hand, and against slower roads to the same number."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.eval import QA_METRICS, SUMMARY_METRICS, metrics
from sac_rag.eval.metrics import (
    longest_common,
    normalise,
    paper_em,
    paper_f1,
    rouge_1,
    rouge_l,
    squad_em,
    squad_f1,
)


def test_examples():
    outcome = doctest.testmod(metrics)
    assert (outcome.failed, outcome.attempted) == (0, 9)


@pytest.mark.parametrize(
    ("prediction", "reference", "overlap", "found", "wanted"),
    [
        ("the cat sat", "the cat", 2, 3, 2),
        ("a a a b", "a b", 2, 2, 2),  # sets: repetition neither helps nor hurts
        ("Paris", "paris", 0, 1, 1),  # case counts
        ("Paris,", "Paris", 0, 1, 1),  # a comma is part of the word
        ("Paris.", "Paris", 1, 1, 1),  # a full stop is not
        ("U.S. army", "US army", 1, 3, 2),  # U, S, army
        ("J. K. Rowling", "Rowling", 1, 3, 1),
        ("3.5", "3.5", 2, 2, 2),
        ("one. ", "one", 1, 2, 1),  # the blank behind the stop counts as a word
        ("  many   spaces ", "many spaces", 2, 2, 2),
    ],
)
def test_the_papers_f1_by_hand(prediction, reference, overlap, found, wanted):
    precision, recall = overlap / found, overlap / wanted
    f1 = 2 * precision * recall / (precision + recall) if overlap else 0.0
    assert paper_f1(prediction, [reference, prediction]) == pytest.approx(f1, abs=1e-7)


@pytest.mark.parametrize(
    ("prediction", "reference"), [("", "a"), (".", "a"), ("a", "..."), ("", "")]
)
def test_what_the_papers_package_refuses_scores_nothing(prediction, reference):
    assert paper_f1(prediction, [reference]) == 0.0


def test_a_blank_answer_shares_the_blank_word():
    # neither empty nor "."-only: the package takes it, and finds the word "" in both
    assert paper_f1(" ", [" "]) == pytest.approx(1.0)
    assert paper_f1(" ", ["a"]) == 0.0


def test_the_papers_em_looks_at_the_first_answer_alone():
    assert paper_em("a", ["a", "b"]) == 1.0
    assert paper_em("b", ["a", "b"]) == 0.0
    assert paper_em("a ", ["a"]) == 0.0


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat!", "cat"),
        ("an  apple a day", "apple day"),
        ("don't", "dont"),
        ("theatre", "theatre"),
    ],
)
def test_squads_normalisation(text, normal):
    assert normalise(text) == normal


def test_squads_f1_takes_the_best_reference():
    # found: barack obama; second reference: obama -> precision 1/2, recall 1
    assert squad_f1("Barack Obama", ["Bush", "Obama"]) == pytest.approx(2 / 3)
    # counts, not sets: one of two "red"s is shared
    assert squad_f1("red red", ["red fox"]) == pytest.approx(1 / 2)
    assert squad_f1("the", ["a"]) == 0.0
    assert squad_em("the", ["a"]) == 1.0


def test_rouge_by_hand():
    # words 6 and 5; shared the, cat, the, mat: 4
    prediction, reference = "the cat is on the mat", "the cat and the mat"
    assert rouge_1(prediction, [reference]) == pytest.approx(2 * 4 / 11)
    assert rouge_l(prediction, [reference]) == pytest.approx(2 * 4 / 11)
    assert rouge_l("mat the cat", [reference]) == pytest.approx(2 * 2 / 8)
    assert rouge_1("", [reference]) == rouge_l("", [reference]) == 0.0


WORDS = st.lists(st.sampled_from("abcde"), max_size=40)


def _by_table(first, second) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, two in enumerate(second):
            longer = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if one == two else longer
    return table[-1][-1]


@given(first=WORDS, second=WORDS)
@settings(deadline=None)
def test_bits_count_what_the_table_counts(first, second):
    assert longest_common(first, second) == _by_table(first, second)


TEXT = st.text(alphabet="ab .,A", max_size=20)


@given(prediction=TEXT, references=st.lists(TEXT, min_size=1, max_size=3))
@settings(deadline=None)
def test_every_score_lies_between_nothing_and_all(prediction, references):
    for metric in [*QA_METRICS.values(), *SUMMARY_METRICS.values()]:
        assert 0.0 <= metric(prediction, references) <= 1.0


@given(prediction=TEXT, references=st.lists(TEXT, min_size=1, max_size=3))
@settings(deadline=None)
def test_more_references_never_hurt_where_the_best_counts(prediction, references):
    for metric in (squad_em, squad_f1, rouge_1, rouge_l):
        assert metric(prediction, references) >= metric(prediction, references[:1])
