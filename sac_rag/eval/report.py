"""What an evaluation found, as numbers and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sac_rag.eval.askers import Reply
from sac_rag.eval.bootstrap import Bootstrap, Interval

COUNTS = ("prompt_tokens", "anchors", "source_tokens", "cache_bytes")
"""Fields of ``Usage`` whose means are reported."""


@dataclass(frozen=True)
class Example:
    """One question, answered and scored."""

    source: str
    """The set it belongs to."""
    reply: Reply
    """What came back."""
    scores: Mapping[str, float]
    """By metric."""


@dataclass(frozen=True, kw_only=True)
class MethodReport:
    """One method on all sets."""

    asked: int
    """Questions."""
    too_long: int
    """Of these, did not fit the window; they count as wrong."""
    macro: dict[str, Interval]
    """By metric, the mean of the sets' means: the paper's average."""
    micro: dict[str, Interval]
    """By metric, the mean over all questions."""
    by_source: dict[str, dict[str, Interval]]
    """By set and metric."""
    asked_by_source: dict[str, int]
    """Questions of each set."""
    answered_only: dict[str, float]
    """By metric, the mean over questions that did fit; empty if none did."""
    mean_counts: dict[str, float]
    """Means of ``COUNTS`` over answered questions, where they are known."""

    @classmethod
    def of(cls, examples: Sequence[Example], *, bootstrap: Bootstrap) -> MethodReport:
        """Put the examples of one method together."""
        sources = {
            name: [one for one in examples if one.source == name]
            for name in sorted({one.source for one in examples})
        }
        metrics = list(examples[0].scores)
        answered = [one for one in examples if one.reply.text is not None]

        def scores(chosen: Sequence[Example], metric: str) -> list[float]:
            return [one.scores[metric] for one in chosen]

        return cls(
            asked=len(examples),
            too_long=len(examples) - len(answered),
            macro={
                metric: bootstrap.macro(
                    {name: scores(chosen, metric) for name, chosen in sources.items()}
                )
                for metric in metrics
            },
            micro={metric: bootstrap.micro(scores(examples, metric)) for metric in metrics},
            by_source={
                name: {metric: bootstrap.micro(scores(chosen, metric)) for metric in metrics}
                for name, chosen in sources.items()
            },
            asked_by_source={name: len(chosen) for name, chosen in sources.items()},
            answered_only={
                metric: sum(scores(answered, metric)) / len(answered) for metric in metrics
            }
            if answered
            else {},
            mean_counts=_means([one.reply.usage for one in answered]),
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """All methods."""

    methods: dict[str, MethodReport]
    """By the name that the table shows."""
    max_new_tokens: int
    """Most tokens of an answer."""

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON values; scores lie between 0 and 1."""
        return asdict(self)

    def to_text(self) -> str:
        """Write the table of all methods with aligned columns; scores in percent."""
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def to_markdown(self) -> str:
        """Write the table of all methods as Markdown; scores in percent."""
        return _markdown(self._rows())

    def sources_markdown(self) -> str:
        """Write each set's scores as Markdown, a row per set and method."""
        rows = [["set", "method", "asked", *self._metrics()]]
        first = next(iter(self.methods.values()))
        for source in first.by_source:
            for name, method in self.methods.items():
                cells = [_percent(one) for one in method.by_source[source].values()]
                rows.append([source, name, f"{method.asked_by_source[source]:,}", *cells])
        return _markdown(rows)

    def _rows(self) -> list[list[str]]:
        """Give the cells: macro scores, which with one set are the micro scores."""
        rows = [["method", "asked", "too long", "anchors", "text tokens", *self._metrics()]]
        for name, method in self.methods.items():
            counts = [_count(method.mean_counts, one) for one in ("anchors", "prompt_tokens")]
            cells = [_percent(one) for one in method.macro.values()]
            rows.append([name, f"{method.asked:,}", f"{method.too_long:,}", *counts, *cells])
        return rows

    def _metrics(self) -> list[str]:
        return list(next(iter(self.methods.values())).macro)


def _means(usages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    means = {}
    for name in COUNTS:
        known = [usage[name] for usage in usages if usage.get(name) is not None]
        if known:
            means[name] = sum(known) / len(known)
    return means


def _percent(interval: Interval) -> str:
    value, low, high = (100 * one for one in (interval.value, interval.low, interval.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _count(means: Mapping[str, float], name: str) -> str:
    return f"{means[name]:,.0f}" if name in means else "-"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    written = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    ruler = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join([written[0], ruler, *written[1:]])
