"""Hard compression keeps a subset of the words, in order, within its budget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.errors import ConfigError
from sac_rag.importance import compress_text
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

TOKENS = Tokens(byte_tokenizer())
TEXT = "The mill has a wheel, and the river is long.\nWhy is it? Nobody has said. " * 5


def compressed(classifier, text=TEXT, ratio=5, **given):
    return compress_text(text, ratio=ratio, classifier=classifier, tokens=TOKENS, **given)


@settings(max_examples=30, deadline=None)
@given(
    st.text(alphabet="ab c.?\n", min_size=1, max_size=60).filter(str.strip),
    st.sampled_from([1.5, 5, 15, 51]),
)
def test_what_is_left_stands_in_the_text_in_order_and_is_never_nothing(classifier, text, ratio):
    left = compressed(classifier, text, ratio)
    assert left.strip()
    letters = iter("".join(text.split()))
    assert all(letter in letters for letter in "".join(left.split()))


@pytest.mark.parametrize("ratio", [2, 5, 15])
def test_the_budget_is_kept_and_used(classifier, ratio):
    budget = TOKENS.count(TEXT) / ratio
    assert 0.6 * budget < TOKENS.count(compressed(classifier, ratio=ratio)) <= budget


def test_what_is_kept_scores_best(classifier):
    text = "the mill has a wheel and the river is long why is it nobody has said"
    kept = compressed(classifier, text, ratio=3).split()
    best = sorted(classifier.words(text), key=lambda word: -word.keep)[: len(kept)]
    in_order = sorted(best, key=lambda word: word.start)
    assert kept == [text[word.start : word.end] for word in in_order]


def test_forced_strings_stay(classifier):
    assert compressed(classifier).count("\n") == TEXT.count("\n")
    assert compressed(classifier).count("?") == TEXT.count("?")
    assert compressed(classifier, forced=()).count("\n") == 0


def test_a_smaller_ratio_keeps_all_that_a_larger_one_does(classifier):
    few, many = (compressed(classifier, ratio=ratio) for ratio in (15, 3))
    letters = iter(many)
    assert all(letter in letters for letter in few.replace(" ", ""))


def test_ratio_one_is_the_text(classifier):
    assert compressed(classifier, ratio=1) == TEXT
    with pytest.raises(ConfigError, match="1 or more"):
        compressed(classifier, ratio=0.5)
