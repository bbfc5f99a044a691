"""Questions cut by machine can be answered from what is read."""

from __future__ import annotations

import random

import cloze
import pytest
from readings import from_documents

PARAGRAPH = (
    "The bridge at Norby was designed by Anna Berg, an engineer from Oslo, between 1901 and 1905. "
    "It was opened on 3 May 1906 before a crowd of 2,500 people and one very old dog. "
    "Engineers from many countries came to see how Anna Berg had solved the problem of the tides. "
    "In the winter of 1940 the bridge was closed for 11 weeks because of ice."
)


@pytest.mark.parametrize("seed", range(20))
def test_every_answer_stands_in_the_text(seed):
    reading = cloze.read(PARAGRAPH, random.Random(seed))
    assert reading is not None
    assert 0 < len(reading.questions) <= cloze.PER_PARAGRAPH
    for one in reading.questions:
        assert one.answer in reading.text
        gapped = cloze.GAP in one.question
        assert gapped or any(word in one.question for word in cloze.ASKED[one.kind])


def test_all_kinds_are_found_and_a_hidden_sentence_is_answered_by_another():
    readings = [cloze.read(PARAGRAPH, random.Random(seed)) for seed in range(60)]
    kinds = {one.kind for reading in readings for one in reading.questions}
    assert kinds == {"date", "year", "number", "name"}
    hidden = [reading for reading in readings if reading.text != PARAGRAPH]
    assert hidden
    assert any(one.answer == "Anna Berg" for reading in hidden for one in reading.questions)


def test_the_same_seed_asks_the_same():
    assert cloze.read(PARAGRAPH, random.Random(3)) == cloze.read(PARAGRAPH, random.Random(3))


def test_nothing_to_ask_gives_nothing():
    assert (
        cloze.read("all of this is in small letters and has no figures.", random.Random(0)) is None
    )


def test_paragraphs_of_the_development_sets_are_passed_over():
    from corpus import Contexts

    assert from_documents([PARAGRAPH], 0, Contexts([]))
    assert not from_documents([PARAGRAPH], 0, Contexts([PARAGRAPH.lower()]))
