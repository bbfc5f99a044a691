"""A bench as JSON, for ``sac-rag plan`` and for later, and as Markdown, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sac_rag.bench.clock import Spread
from sac_rag.bench.results import Ratio, Row, Section

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """Everything that one run measured."""

    command: str
    """As it was given."""
    date: str
    """Of the run, ISO 8601, UTC."""
    quick: bool
    """Whether it was a quick look."""
    machine: Mapping[str, Any]
    subject: Mapping[str, Any]
    """Model, what is random about it, ratio, precision, bytes of a token."""
    settings: Mapping[str, Any]
    sections: Sequence[Section]

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return {
            "format": FORMAT_VERSION,
            "command": self.command,
            "date": self.date,
            "quick": self.quick,
            "machine": dict(self.machine),
            "subject": dict(self.subject),
            "settings": dict(self.settings),
            "sections": [section.to_json() for section in self.sections],
        }

    def to_markdown(self) -> str:
        """Write the tables, each ratio with its target, and what was not run."""
        versions = ", ".join(f"{name} {v}" for name, v in self.machine["versions"].items() if v)
        head = [
            f"`{self.command}`",
            "",
            f"{self.date}; {self.machine['processor']}, {self.machine['cores']} cores, "
            f"{self.machine['threads']} threads used, device {self.machine['device']}, "
            f"load average {_number(self.machine['load_average'])} at the start; {versions}.",
            "",
            f"{self.subject['name']}: {self.subject['note']}; {self.subject['ratio']} tokens per "
            f"anchor, {self.subject['dtype']}.",
        ]
        if self.quick:
            head += ["", "**A quick look**: too few repetitions for a claim."]
        return "\n".join([*head, *(f"\n{section_markdown(one)}" for one in self.sections), ""])


def section_markdown(section: Section) -> str:
    """Write one measurement."""
    lines = [f"## {section.title}"]
    for rows in _alike(section.rows):
        lines += ["", *_rows(rows)]
    if section.ratios:
        lines += ["", *_ratios(section.ratios)]
    told = [*section.notes, *(f"not run: {reason}" for reason in section.not_run)]
    if told:
        lines += ["", *(f"- {one}" for one in told)]
    return "\n".join(lines)


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows that have the same columns."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        columns = (tuple(row.at), tuple(row.figures), row.wall_s is not None)
        groups.setdefault(columns, []).append(row)
    return list(groups.values())


def _rows(rows: Sequence[Row]) -> list[str]:
    timed = rows[0].wall_s is not None
    ends = {f"{name}{end}" for name in rows[0].figures for end in ("_low", "_high")}
    names = [name for name in rows[0].figures if name not in ends]
    head = ["", *rows[0].at, *(["wall", "CPU", "n"] if timed else []), *names]
    table = [head]
    for row in rows:
        times = [_duration(row.wall_s), _duration(row.cpu_s), str(row.repeats)] if timed else []
        places = [_number(value) for value in row.at.values()]
        figures = [_figure(row, name) for name in names]
        table.append([row.contender, *places, *times, *figures])
    return _table(table)


def _figure(row: Row, name: str) -> str:
    """Write a figure, with its interval if it has one."""
    low, high = (row.figures.get(f"{name}{end}") for end in ("_low", "_high"))
    written = _number(row.figures[name])
    return written if low is None else f"{written} ({_number(low)}-{_number(high)})"


def _ratios(ratios: Sequence[Ratio]) -> list[str]:
    table = [["ratio", "at", "wall", "CPU", "target"]]
    for one in ratios:
        place = ", ".join(f"{name} {_number(value)}" for name, value in one.at.items())
        table.append([one.name, place, _times(one.value), _times(one.cpu), one.target or ""])
    return _table(table)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    written = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [written[0], "|---|" + "---:|" * (len(rows[0]) - 1), *written[1:]]


def _times(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return f"{spread.median:.3g}x ({spread.low:.3g}-{spread.high:.3g})"


def _duration(spread: Spread | None) -> str:
    """Write seconds with their quartiles.

    >>> _duration(Spread(median=0.0123, low=0.012, high=0.0131))
    '12.3 ms (12-13.1)'
    """
    if spread is None:
        return ""
    unit, scale = ("s", 1.0) if spread.median >= 1 else ("ms", 1000.0)
    median, low, high = (scale * one for one in (spread.median, spread.low, spread.high))
    return f"{median:.3g} {unit} ({low:.3g}-{high:.3g})"


def _number(value: float | None) -> str:
    """Write a number with three digits, or all of a whole one.

    >>> _number(8160), _number(0.98765), _number(None)
    ('8,160', '0.988', '')
    """
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
