"""What measurements give: rows, ratios between them, and what was not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sac_rag.bench.clock import Lap, Laps, Spread, cpu, ratio, wall

At = Mapping[str, int]
"""Where a number was taken, such as ``{"context": 8160}``."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender in one place."""

    contender: str
    at: At = field(default_factory=dict)
    wall_s: Spread | None = None
    cpu_s: Spread | None = None
    """CPU time of all threads of this process, while ``wall_s`` went by."""
    repeats: int = 0
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """By name with unit: ``tokens_per_s``, ``cache_bytes``; None where it cannot be known."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times one contender takes what another takes: the claim."""

    name: str
    value: Spread
    at: At = field(default_factory=dict)
    cpu: Spread | None = None
    """The same of CPU time, which a busy machine disturbs less."""
    target: str | None = None
    """What is aimed at, if this is a place where it is defined."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One measurement."""

    name: str
    title: str
    rows: Sequence[Row]
    ratios: Sequence[Ratio] = ()
    not_run: Sequence[str] = ()
    """What was asked for and did not run, each with its reason. Nothing is extrapolated."""
    notes: Sequence[str] = ()
    """What a reader must know: what was dropped from a cache, what is random."""

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return asdict(self)


def row(contender: str, laps: Sequence[Lap], *, at: At, figures: Mapping[str, float | None]) -> Row:
    """Make a row of a contender's laps."""
    return Row(
        contender=contender,
        at=dict(at),
        wall_s=wall(laps),
        cpu_s=cpu(laps),
        repeats=len(laps),
        figures=dict(figures),
    )


def versus(
    laps: Laps, over: str, under: str, *, at: At, target: str | None = None, name: str = ""
) -> Ratio:
    """Make the ratio of two contenders of one race, round by round."""
    return Ratio(
        name=name or f"{over} / {under}",
        value=ratio(laps[over], laps[under]),
        cpu=ratio(laps[over], laps[under], of="cpu_s"),
        at=dict(at),
        target=target,
    )
