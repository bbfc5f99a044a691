"""Scores of one answer against its references: pure functions, each between 0 and 1.

The paper's scorer (SAC, arXiv:2510.08907, released code) compares raw text with the first answer:
nothing is lower-cased or normalised, so its numbers lie below, and cannot be compared with, the
SQuAD-normalised ones.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

Metric = Callable[[str, Sequence[str]], float]
"""(prediction, references) to a score."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
_ROUGE_WORD = re.compile(r"[a-z0-9]+")


def paper_em(prediction: str, references: Sequence[str]) -> float:
    """Tell whether the answer is the first reference, character for character.

    >>> paper_em("Paris", ["Paris"]), paper_em("paris", ["Paris"]), paper_em("B", ["A", "B"])
    (1.0, 0.0, 0.0)
    """
    return float(prediction == references[0])


def paper_f1(prediction: str, references: Sequence[str]) -> float:
    """Give ROUGE-1 F against the first reference, as the package ``rouge`` 1.0.1 counts it.

    It cuts at every ``.``, drops what is empty, and compares *sets* of words. An answer without
    any word, which that package refuses, scores 0.

    >>> round(paper_f1("the red red fox", ["a red fox"]), 3)
    0.667
    >>> paper_f1(".", ["a red fox"])
    0.0
    """
    found, wanted = _paper_words(prediction), _paper_words(references[0])
    if not found or not wanted:
        return 0.0
    both = len(found & wanted)
    precision, recall = both / len(found), both / len(wanted)
    # the package's own guard against 0 / 0, kept for equal digits
    return 2.0 * (precision * recall) / (precision + recall + 1e-8)


def _paper_words(text: str) -> set[str]:
    sentences = [" ".join(part.split()) for part in text.split(".") if part]
    # split(" ") keeps "" as a word of a blank sentence: so does the package
    return {word for sentence in sentences for word in sentence.split(" ")}


def squad_em(prediction: str, references: Sequence[str]) -> float:
    """Tell whether the answer is one of the references, after SQuAD's normalisation.

    >>> squad_em("the Paris.", ["London", "paris"])
    1.0
    """
    return float(any(normalise(prediction) == normalise(one) for one in references))


def squad_f1(prediction: str, references: Sequence[str]) -> float:
    """Give the F1 of normalised words, the best over the references.

    >>> round(squad_f1("the red, red fox", ["a blue fox", "red fox"]), 3)
    0.8
    """
    found = normalise(prediction).split()
    return max(_f1(_shared(found, wanted), found, wanted) for wanted in _split_all(references))


def normalise(text: str) -> str:
    """Lower-case, drop punctuation and articles, mend white space: as SQuAD 1.1 and MRQA do.

    >>> normalise("The  U.S.  Senate!")
    'us senate'
    """
    bare = "".join(mark for mark in text.lower() if mark not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def rouge_1(prediction: str, references: Sequence[str]) -> float:
    """Give ROUGE-1 F of lower-cased words, the best over the references.

    >>> round(rouge_1("The cat sat", ["the cat sat down"]), 3)
    0.857
    """
    found = _rouge_words(prediction)
    return max(
        _f1(_shared(found, wanted), found, wanted) for wanted in map(_rouge_words, references)
    )


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Give ROUGE-L F, by the longest common subsequence of words, the best over the references.

    >>> rouge_l("the cat sat", ["the sat cat"]) == 2 / 3
    True
    """
    found = _rouge_words(prediction)
    return max(
        _f1(longest_common(found, wanted), found, wanted)
        for wanted in map(_rouge_words, references)
    )


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the words of the longest common subsequence.

    A row of the usual table is kept as the bits of one integer, so that long summaries cost
    words, not words squared.

    >>> longest_common("a b c d".split(), "b x d".split())
    2
    """
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        hit = row & places.get(word, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(first) - row.bit_count()


def _rouge_words(text: str) -> list[str]:
    return _ROUGE_WORD.findall(text.lower())


def _split_all(references: Sequence[str]) -> list[list[str]]:
    return [normalise(one).split() for one in references]


def _shared(found: list[str], wanted: list[str]) -> int:
    return (Counter(found) & Counter(wanted)).total()


def _f1(shared: int, found: Sequence[str], wanted: Sequence[str]) -> float:
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


QA_METRICS: dict[str, Metric] = {
    "paper_em": paper_em,
    "paper_f1": paper_f1,
    "squad_em": squad_em,
    "squad_f1": squad_f1,
}
"""What questions are scored by."""

SUMMARY_METRICS: dict[str, Metric] = {
    "paper_f1": paper_f1,
    "rouge_1": rouge_1,
    "rouge_l": rouge_l,
}
"""What summaries are scored by; the paper takes ``paper_f1`` here too."""
