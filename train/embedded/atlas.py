"""A fictional atlas: documents about places that do not exist, with questions only they can answer.

Names are recombined from syllables and values are drawn at random, so nothing can be known
beforehand: an answer can only come from the document, in plain or from its anchors. One seed is
one world; a share of the name combinations is kept for held-out worlds and never written for
training.
"""

# ruff: noqa: SIM905 - lists of hundreds of words read better as text
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import phrases
from phrases import Kind
from places import FILLERS, KINDS, TOWN

COLOURS = "black blue brown golden green grey pink purple red silver white yellow".split()
COMPANIONS = tuple(kind for kind in KINDS.values() if kind is not TOWN)
FAMILY_STARTS, PLACE_STARTS = phrases.STARTS[::3], phrases.STARTS[1::3] + phrases.STARTS[2::3]
HELD_OUT_SHARE = 10
"""One name combination in so many appears in held-out worlds only."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How hard a document is to read."""

    says: int = 9
    """Statements in use per fact."""
    asks: int = 9
    """Questions in use per fact."""
    pronoun: float = 0.2
    """Chance that a sentence calls its place ``it`` or by its noun."""
    filler: float = 0.35
    """Chance of a sentence without a fact after one with a fact."""
    openings: float = 0.8
    """Chance that a paragraph opens with a sentence that leads to its place."""
    alike: float = 0.0
    """Chance that all places of an entry are of one kind, so that only names tell them apart."""
    facts: int = 0
    """Facts told of a place at most; 0 tells all of them. Where all places are alike, they are the
    same facts of each, so that nothing but the name tells one answer from another."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question with its only answer."""

    question: str
    answer: str
    name: str
    """The place it asks about, as it is called."""
    own_name: str = ""
    """Its name alone."""
    owner_end: int = 0
    """Where in the text the name ends whose value this is, in characters."""
    value_start: int = 0
    """Where in the text the answer stands, in characters."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One entry of the atlas."""

    title: str
    text: str
    questions: list[Question] = field(default_factory=list)


class World:
    """Names and values drawn from one seed; no name is used twice until ``forget``."""

    def __init__(self, seed: int | str, *, held_out: bool = False) -> None:
        self.rng = random.Random(f"atlas-{seed}")
        self._held_out = held_out
        self._taken: set[str] = set()

    def forget(self) -> None:
        """Free all names, to start another set of documents that are read together."""
        self._taken.clear()

    def place(self) -> str:
        """Draw the name of a place."""
        return self._name(PLACE_STARTS, phrases.ENDS)

    def person(self) -> str:
        """Draw a person's full name."""
        return f"{self.rng.choice(phrases.GIVEN)} {self._name(FAMILY_STARTS, phrases.SURNAME_ENDS)}"

    def _name(self, starts: list[str], ends: list[str]) -> str:
        while True:
            start, end = self.rng.randrange(len(starts)), self.rng.randrange(len(ends))
            name = starts[start] + ends[end]
            kept_back = (start * 7 + end) % HELD_OUT_SHARE == 0
            if name not in self._taken and (self._held_out or not kept_back):
                self._taken.add(name)
                return name

    def value(self, kind: str) -> str:
        """Draw a value of a kind named in ``phrases.Fact.value``."""
        rng = self.rng
        if kind == "person":
            return self.person()
        if kind == "place":
            return self.place()
        if kind == "year":
            return str(rng.randrange(1000, 1990))
        if kind in _MEASURES:
            low, high, unit = _MEASURES[kind]
            # two figures that count, as an atlas gives them: 46,000 people, 7,200 feet
            drawn = rng.randrange(low, high)
            return f"{int(float(f'{drawn:.1e}')):,}{unit}"
        if kind == "shade":
            return rng.choice(COLOURS)
        return rng.choice(_WORDS[kind])


_MEASURES = {
    "count": (1000, 99_999, ""),
    "miles": (12, 990, " miles"),
    "feet": (100, 9_999, " feet"),
    "acres": (100, 9_999, " acres"),
}
_WORDS = {
    "goods": phrases.GOODS,
    "animal": phrases.ANIMALS,
    "fish": phrases.FISH,
    "tree": phrases.TREES,
    "stuff": phrases.STUFF,
    "ore": phrases.ORES,
    "month": phrases.MONTHS,
    "day": phrases.DAYS,
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _paragraph(
    world: World, kind: Kind, name: str, lead: str | None, style: Style, told: list[str]
) -> list[tuple[str, Question | None]]:
    """Write the sentences about one place, each with the question that it answers.

    ``told`` names the facts to tell; empty, it is filled with those that are drawn.
    """
    rng = world.rng
    call = kind.name.format(n=name)
    sentences: list[tuple[str, Question | None]] = []
    if lead is not None and rng.random() < style.openings:
        sentences.append((kind.opening.format(t=lead, e=call), None))
    keys = rng.sample(told or list(kind.facts), len(told or kind.facts))[: style.facts or None]
    told[:] = keys
    for key in keys:
        fact = kind.facts[key]
        value = world.value(fact.value)
        says = rng.choice(fact.says[: style.says])
        subject = _capital(call)
        if sentences and rng.random() < style.pronoun:
            subject = rng.choice(("It", f"The {kind.noun}"))
        ask = rng.choice(fact.asks[: style.asks]).format(e=call)
        question = Question(question=ask, answer=value, name=call)
        sentences.append((says.format(S=subject, e=call, v=value), question))
        if rng.random() < style.filler:
            sentences.append((rng.choice(FILLERS), None))
    return sentences


def write(
    world: World, count: Callable[[str], int], tokens: int, *, style: Style | None = None
) -> Document:
    """Write one entry.

    Args:
        world: Where names and values come from.
        count: Number of tokens of a text.
        tokens: Length to come close to without passing it, in tokens, the title included.
        style: How hard it is to read; the full difficulty by default.
    """
    style = style or Style()
    title = world.place()
    text, questions = f"# {title}\n", []
    left = tokens - count(text)
    alike = world.rng.random() < style.alike
    kind, lead, waiting = world.rng.choice([*KINDS.values()]) if alike else TOWN, None, []
    told: list[str] = []
    while True:
        name = title if lead is None else world.place()
        gap = "\n"
        if not (alike and style.facts):
            told = []
        for sentence, question in _paragraph(world, kind, name, lead, style, told):
            left -= count(gap + sentence)
            if left < 0:
                return Document(title=title, text=text, questions=questions)
            text += gap + sentence
            gap = " "
            # a pronoun stands for the name that came last
            owner_end = text.rfind(name) + len(name)
            if question is not None:
                value_start = text.rfind(question.answer)
                if value_start < owner_end:  # the name itself contains the value's letters
                    raise ValueError(f"{sentence!r} gives its value before its name")
                questions.append(
                    replace(question, own_name=name, owner_end=owner_end, value_start=value_start)
                )
        lead = title if lead is None or kind is not TOWN else name
        # a town has its river, its lake, its mountain ...; then the entry goes on to the next town
        waiting = waiting or [TOWN, *world.rng.sample(COMPANIONS, len(COMPANIONS))]
        kind = kind if alike else waiting.pop()
