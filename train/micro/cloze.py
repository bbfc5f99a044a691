"""Questions cut by machine: a sentence with a name, number or date taken out.

    "The Nobel Prize was first awarded in ____ to Wilhelm Röntgen"  ->  "1901"

What stands around the gap is cropped at random and a question word takes the place of some gaps,
so that the question is no plain copy. Where the answer is also said elsewhere in the paragraph, the
sentence itself may be left out of what is read: the answer must then be found by its sense.
"""

# ruff: noqa: SIM905 - lists of words read better as text
from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
DATE = rf"\d{{1,2}} {MONTH} \d{{4}}|{MONTH} \d{{1,2}}, \d{{4}}|{MONTH} \d{{4}}"
YEAR = r"(?<![\d,.])(?:1\d{3}|20[0-2]\d)(?!\w|,\d|\.\d)"
NUMBER = r"(?<![\w,.])\d{1,3}(?:,\d{3})+(?!\w)|(?<![\w,.])\d+(?:\.\d+)?(?![\w%]|,\d)"
WORD = r"[A-Z][\w'’-]*[a-z][\w'’-]*"
NAME = rf"{WORD}(?: (?:(?:of|de|la|van|von|du|di|the) )?{WORD})*"
FOUND = re.compile(
    rf"(?P<date>{DATE})|(?P<year>{YEAR})|(?P<number>{NUMBER})|(?P<name>{NAME})", re.UNICODE
)
SENTENCE_END = re.compile(
    r"(?<![A-Z])(?<!\b(?:Mr|Dr|St|Jr|vs|No))(?<!\bMrs)[.!?][\"”)]*\s+(?=[A-Z\"“(])"
)
GAP = "____"
ASKED = {
    "date": (GAP, GAP, "when"),
    "year": (GAP, "what year", "which year"),
    "number": (GAP, GAP, "how many"),
    "name": (GAP, GAP, GAP, "who or what"),
}
"""What may stand in an answer's place."""
PARAGRAPH_WORDS = (40, 300)
SENTENCE_WORDS = (8, 60)
LEFT_WORDS, RIGHT_WORDS = (4, 14), (3, 10)
"""Words that are kept before and behind a gap."""
ANSWER_WORDS = 6
PER_PARAGRAPH = 5
HIDE = 0.5
"""Share of paragraphs with a sentence that could be left out, in which it is."""
COMMON = frozenset(
    "The This That These Those There Then They When Where While What Who In On At By For From With "
    "His Her Its Their She He It As After Before During However Although Some Many Most One Two "
    "Both Each All Other Another If But And Or So Also Such Since Until Under Over".split()
)
"""Words with a capital that name nothing."""


@dataclass(frozen=True, kw_only=True)
class Cloze:
    """A question with its answer."""

    question: str
    """The cropped sentence with its gap, or the question word in its place."""
    answer: str
    """What stood there."""
    kind: str
    """``date``, ``year``, ``number`` or ``name``."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A text and questions about it; every answer stands in the text."""

    text: str
    """What is read."""
    questions: tuple[Cloze, ...]
    """At least one."""


def paragraphs(document: str) -> Iterator[str]:
    """Give the lines of a document that are long enough to ask about and short enough to read."""
    for line in document.split("\n"):
        if PARAGRAPH_WORDS[0] <= line.count(" ") + 1 <= PARAGRAPH_WORDS[1]:
            yield line.strip()


def sentences(paragraph: str) -> list[str]:
    """Cut a paragraph into sentences; together, with a space between, they are the paragraph.

    >>> sentences("It rained. Dr. No came in 1962. He left.")
    ['It rained.', 'Dr. No came in 1962.', 'He left.']
    """
    cuts = [0, *(match.end() for match in SENTENCE_END.finditer(paragraph)), len(paragraph)]
    return [paragraph[a:b].strip() for a, b in pairwise(cuts)]


def gaps(sentence: str) -> list[tuple[int, int, str]]:
    """Find what may be taken out of a sentence: start, end, kind.

    >>> line = "The bridge was opened by Anna Berg in May 1931 for 2,500 people."
    >>> [line[start:end] for start, end, _ in gaps(line)]
    ['Anna Berg', 'May 1931', '2,500']
    """
    found = []
    for match in FOUND.finditer(sentence):
        start, end, kind = *match.span(), str(match.lastgroup)
        text = match.group()
        if kind == "name":
            first = text.split(" ", 1)[0]
            if first in COMMON:  # "The Hague" loses its article, "However" all of itself
                start += len(first) + 1
                text = sentence[start:end]
            text = re.sub(r"['’]s$", "", text)
            end = start + len(text)
            if start >= end or len(text) < 4 or (start == 0 and " " not in text):
                continue
        if len(text.split()) <= ANSWER_WORDS:
            found.append((start, end, kind))
    return found


def read(paragraph: str, draw: random.Random) -> Reading | None:
    """Cut questions from a paragraph; None if there is nothing to ask.

    Args:
        paragraph: Sentences, in one line.
        draw: Chooses gaps, crops and the sentence that is left out.
    """
    parts = sentences(paragraph)
    able = [
        (index, gap)
        for index, part in enumerate(parts)
        if SENTENCE_WORDS[0] <= len(part.split()) <= SENTENCE_WORDS[1]
        for gap in gaps(part)
    ]
    if not able:
        return None
    # most gaps are names: a date or number goes before them more often than not
    able.sort(key=lambda one: draw.random() * (1.0 if one[1][2] == "name" else 0.4))
    hidden = _hidden(parts, able, draw)
    text = " ".join(part for index, part in enumerate(parts) if index != hidden)
    made: dict[str, Cloze] = {}
    for index, (start, end, kind) in able:
        if len(made) == PER_PARAGRAPH:
            break
        answer = parts[index][start:end]
        if index == hidden and not _says(text, answer):
            continue
        question = _question(parts[index], start, end, kind, draw)
        made.setdefault(question, Cloze(question=question, answer=answer, kind=kind))
    return Reading(text=text, questions=tuple(made.values())) if made else None


def _hidden(
    parts: Sequence[str], able: Sequence[tuple[int, tuple[int, int, str]]], draw: random.Random
) -> int | None:
    """Choose a sentence to leave out: one with a name that another sentence says too."""
    if len(parts) < 3 or draw.random() >= HIDE:
        return None
    for index, (start, end, kind) in able:
        others = " ".join(part for other, part in enumerate(parts) if other != index)
        if kind == "name" and _says(others, parts[index][start:end]):
            return index
    return None


def _says(text: str, answer: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None


def _question(sentence: str, start: int, end: int, kind: str, draw: random.Random) -> str:
    left, right = sentence[:start].split(), sentence[end:].split()
    left = left[max(0, len(left) - draw.randint(*LEFT_WORDS)) :]
    right = right[: draw.randint(*RIGHT_WORDS)]
    word = draw.choice(ASKED[kind])
    # signs that stood at the answer stay at the gap: "(____)", "____,"
    before = "" if not left or sentence[:start].endswith(" ") else left.pop()
    after = "" if not right or sentence[end : end + 1] == " " else right.pop(0)
    question = " ".join([*left, f"{before}{word}{after}", *right]).rstrip(".,;:")
    return question if word == GAP else f"{question}?"
