"""Beyond the paper: any-ratio, composed and query-aware training, each beside its plain row.

Base, data, learning rate, steps and seeds are the table's. What a plain row or the base lacks for
the comparison (the joined exam) is asked of the very adapter that stands in the table. Fine-tunes
go on from the plain row's first stage. ``embedded_table.py`` trains and asks, and says how.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import embedded_report
from rows import Row, rows_named


@dataclass(frozen=True, kw_only=True)
class Asking:
    """An exam, and at which ratio it is asked."""

    exam: str
    """File of the data folder, without its suffix."""
    ratio: int = 0
    """Tokens per anchor; 0 for the adapter's own."""
    at: str = ""
    """Holds its files, in the folder of the row's runs; the result calls its scores by it."""


THE_EXAM = Asking(exam="exam")
"""What every row of the paper's table is asked."""
ALONE, JOINED = Asking(exam="exam", at="alone"), Asking(exam="joined", at="joined")
"""A question's document alone, and among others that are compressed apart from it."""
ANY_RATIOS = (5, 15, 51)


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """One row beyond the paper's."""

    row: Row
    """What is trained, and whose runs these are."""
    asked: tuple[Asking, ...]


def _made() -> dict[str, Beyond]:
    names = ["base", "sac_5x", "sac_51x", "sac_any_ratio", "sac_5x_composed", "sac_15x_query_aware"]
    base, plain, coarse, several, composed, aware = rows_named(names)
    several = replace(several, name="sac_any", title="SAC, one adapter for 5x, 15x, 51x")
    ratios = tuple(Asking(exam="exam", ratio=one, at=f"{one}x") for one in ANY_RATIOS)
    return {
        "base_joined": Beyond(row=base, asked=(JOINED,)),
        "sac_5x_joined": Beyond(row=plain, asked=(JOINED,)),
        "sac_5x_composed": Beyond(row=composed, asked=(ALONE, JOINED)),
        "sac_any": Beyond(row=several, asked=ratios),
        "sac_15x_query": Beyond(row=replace(aware, name="sac_15x_query"), asked=(ALONE,)),
        "sac_51x": Beyond(row=coarse, asked=(ALONE,)),
    }


BEYOND = _made()
"""By name, in the order in which they are trained. Those that are called unlike their row train
nothing that it does not."""


@dataclass(frozen=True)
class Line:
    """One line of a table of this section."""

    title: str
    name: str
    """Of the row, here or in the paper's table."""
    scores: str
    """What its result calls them: the road, and ``Asking.at``."""
    plain: str = ""
    """Title of the line that it is held against."""


TABLES = {
    "one document": (
        Line("SAC 5x", "sac_5x", "compressed"),
        Line("any ratio, at 5x", "sac_any", "compressed 5x", "SAC 5x"),
        Line("SAC 5x, composed", "sac_5x_composed", "compressed alone", "SAC 5x"),
        Line("SAC 15x", "sac_15x", "compressed"),
        Line("any ratio, at 15x", "sac_any", "compressed 15x", "SAC 15x"),
        Line("SAC 15x, query-aware", "sac_15x_query", "compressed alone", "SAC 15x"),
        Line("SAC 51x", "sac_51x", "compressed alone"),
        Line("any ratio, at 51x", "sac_any", "compressed 51x", "SAC 51x"),
    ),
    "own document and three others, compressed apart and joined": (
        Line("full context", "base_joined", "full joined"),
        Line("none", "base_joined", "none joined"),
        Line("SAC 5x", "sac_5x_joined", "compressed joined"),
        Line("SAC 5x, composed", "sac_5x_composed", "compressed joined", "SAC 5x"),
    ),
}
COMPARED = "squad_f1"
ABOUT = (
    "Same base, data, learning rate, steps and seeds as above; the any-ratio adapter has a third "
    "of its steps at each ratio. The last column is {score} less the plain line's, seed by seed. "
    "Held-out loss: any ratio at 5x; composed with three other documents."
)


def section(rows: Sequence[Mapping[str, Any]], beyond: Sequence[Mapping[str, Any]]) -> str:
    """Write the section; lines that are not finished are left out.

    Args:
        rows: Finished rows of the paper's table.
        beyond: Finished rows of this section; without any there is no section.
    """
    if not beyond:
        return ""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for one in [*rows, *beyond]:
        found.setdefault(one["name"], {})[one["seed"]] = one["scores"]
    parts = [_table(title, lines, found) for title, lines in TABLES.items()]
    trained = [one for one in beyond if BEYOND[one["name"]].row.name == one["name"]]
    about = ABOUT.format(score=embedded_report.SCORES[COMPARED])
    parts = ["## Beyond the paper", about, *parts, embedded_report.cost(trained)]
    return "\n\n".join(part for part in parts if part)


def _table(title: str, lines: Sequence[Line], found: Mapping[str, Any]) -> str:
    asked = {
        line.title: {
            seed: scores[line.scores]
            for seed, scores in found.get(line.name, {}).items()
            if line.scores in scores
        }
        for line in lines
    }
    shown = [line for line in lines if asked[line.title]]
    if not shown:
        return ""
    first = next(iter(asked[shown[0].title].values()))
    head = ["method", "seeds", *embedded_report.SCORES.values(), "against plain"]
    table = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for line in shown:
        own = asked[line.title]
        cells = [
            embedded_report.spread([_percent(one, score) for one in own.values()])
            for score in embedded_report.SCORES
        ]
        cells.append(_against(own, asked.get(line.plain, {})))
        table.append("| " + " | ".join([line.title, str(len(own)), *cells]) + " |")
    return "\n".join([f"### {title} ({first['asked']} questions)", "", *table])


def _against(own: Mapping[int, Any], plain: Mapping[int, Any]) -> str:
    """Write how much better than plain, as mean and spread over the seeds that both have."""
    differences = [
        _percent(own[seed], COMPARED) - _percent(plain[seed], COMPARED)
        for seed in own
        if seed in plain
    ]
    if not differences:
        return ""
    sign = "+" if statistics.mean(differences) > 0 else ""
    return sign + embedded_report.spread(differences)


def _percent(scores: Mapping[str, Any], score: str) -> float:
    return 100 * scores["macro"][score]["value"]
