"""Micro's table as Markdown: scores in percent, and the share of full-context F1 that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CEILING = ("base", "full")
"""Row and road of the ceiling."""
SCORES = ("paper_em", "paper_f1", "squad_em", "squad_f1")
DOMAINS = ("in-domain", "out-of-domain")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write one table per domain.

    Args:
        rows: Finished rows, as ``table.py`` writes them.
    """
    facts = {row["name"]: row for row in rows}
    ceiling = facts.get(CEILING[0], {}).get("domains", {})
    parts = []
    for domain in DOMAINS:
        best = ceiling.get(domain, {}).get(CEILING[1])
        lines = [_line(row, road, scores, best) for row, road, scores in _scores(rows, domain)]
        if lines:
            parts.append("\n".join([f"### {domain}", "", *_head(), *lines]))
    return "\n\n".join(parts)


def kept(scores: Mapping[str, Any], ceiling: Mapping[str, Any] | None) -> float | None:
    """Give the share of the ceiling's F1 that is kept; None where there is none to keep."""
    best = ceiling["macro"]["squad_f1"]["value"] if ceiling else 0.0
    return scores["macro"]["squad_f1"]["value"] / best if best else None


def _scores(rows: Sequence[Mapping[str, Any]], domain: str) -> list[tuple[Any, str, Any]]:
    return [
        (row, road, scores)
        for row in rows
        for road, scores in row["domains"].get(domain, {}).items()
    ]


def _head() -> list[str]:
    names = ["method", "paper EM", "paper F1", "SQuAD EM", "SQuAD F1", "of full F1", "asked"]
    return ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1)]


def _line(row: Any, road: str, scores: Any, ceiling: Any) -> str:
    title = row["title"] if road == "compressed" else {"full": "full context", "none": "none"}[road]
    cells = [title, *(_percent(scores["macro"][name]) for name in SCORES)]
    share = kept(scores, ceiling)
    cells.append("-" if share is None else f"{100 * share:.1f} %")
    return "| " + " | ".join([*cells, f"{scores['asked']:,}"]) + " |"


def _percent(interval: Mapping[str, float]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
