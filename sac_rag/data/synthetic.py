"""Records from a seed, for the tiny recipe and for tests: facts that no model can know.

synthetic://qa?records=200&seed=0&facts=6
synthetic://text?records=200&seed=0&facts=40
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sac_rag.data.addresses import split_address
from sac_rag.data.rows import Row
from sac_rag.errors import DataError

SYNTHETIC_SCHEME = "synthetic"

COLOURS = ("red", "blue", "green", "white", "black", "brown", "grey", "pink")
_ONSETS, _NUCLEI = ("b", "d", "f", "k", "l", "m", "n", "r", "s", "t"), ("a", "e", "i", "o", "u")


@dataclass(frozen=True, kw_only=True)
class SyntheticSource:
    """Generated records; the same seed gives the same ones."""

    kind: str
    """``qa`` or ``text``."""
    records: int = 100
    """How many."""
    facts: int = 6
    """Sentences of a document."""
    seed: int = 0
    """What they are drawn from."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or self.records < 1 or self.facts < 1:
            raise DataError(
                f"asked for {self.records} synthetic records of kind {self.kind!r} with "
                f"{self.facts} facts; the kinds are {', '.join(_KINDS)}, the numbers 1 or more"
            )

    @classmethod
    def parse(cls, address: str) -> SyntheticSource:
        """Read ``synthetic://qa?records=200&seed=0``.

        Raises:
            DataError: If a setting is not known or no number.
        """
        kind, settings = split_address(address, known=("records", "facts", "seed"))
        try:
            return cls(kind=kind, **{name: int(value) for name, value in settings.items()})
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{address}: {error}; give whole numbers") from error

    @property
    def name(self) -> str:
        """Its address."""
        return f"synthetic://{self.kind}?records={self.records}&facts={self.facts}&seed={self.seed}"

    @property
    def label(self) -> str:
        """The set that its records belong to."""
        return f"synthetic-{self.kind}"

    def identity(self) -> dict[str, Any]:
        """Give the settings."""
        return asdict(self)

    def rows(self) -> Iterator[Row]:
        """Draw the records."""
        draw = random.Random(self.seed)
        for number in range(1, self.records + 1):
            yield Row(line=number, value=_KINDS[self.kind](draw, self.facts))


def _facts(draw: random.Random, count: int) -> dict[str, str]:
    facts: dict[str, str] = {}
    while len(facts) < count:
        syllables = draw.randint(2, 4)
        name = "".join(draw.choice(_ONSETS) + draw.choice(_NUCLEI) for _ in range(syllables))
        facts[name.capitalize()] = draw.choice(COLOURS)
    return facts


def _written(facts: dict[str, str]) -> str:
    return " ".join(f"The colour of {name} is {colour}." for name, colour in facts.items())


def _question(draw: random.Random, count: int) -> dict[str, Any]:
    facts = _facts(draw, count)
    asked = draw.choice(list(facts))
    return {
        "context": _written(facts),
        "question": f"What is the colour of {asked}?",
        "answers": [facts[asked]],
    }


def _text(draw: random.Random, count: int) -> dict[str, Any]:
    facts = _facts(draw, count)
    # the second half asks what the first half said, so that a continuation needs its context
    repeated = draw.sample(list(facts.items()), count)
    return {"text": f"{_written(facts)} {_written(dict(repeated))}"}


_KINDS: dict[str, Callable[[random.Random, int], dict[str, Any]]] = {
    "qa": _question,
    "text": _text,
}
