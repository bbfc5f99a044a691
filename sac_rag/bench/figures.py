"""A bench as pictures: one PNG per measurement that has something to draw."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sac_rag.bench.results import Row, Section
from sac_rag.errors import MissingDependencyError


def draw(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Draw times against size, and scores against bytes; give the files.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    check_drawing()
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for section in sections:
        path = folder / f"{section.name}.png"
        quality = any("squad_f1" in row.figures for row in section.rows)
        if (_scores if quality else _lines)(section, path):
            made.append(path)
    return made


def check_drawing() -> None:
    """Refuse to measure for minutes what could then not be drawn.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "figures are drawn with matplotlib, which is not installed; "
            "`pip install matplotlib`, or leave --figures out"
        )


def _lines(section: Section, path: Path) -> bool:
    """Draw wall time, with its quartiles, against the one size that changes."""
    timed = [row for row in section.rows if row.wall_s is not None and row.at]
    size = next((name for name in ("context", "entries", "threads") if _varies(timed, name)), None)
    if size is None:
        return False
    figure, axes = _axes(section.title, size, "seconds")
    for name in dict.fromkeys(row.contender for row in timed):
        points = sorted(
            (
                (row.at[size], row.wall_s)
                for row in timed
                if row.contender == name and size in row.at
            ),
            key=lambda point: point[0],
        )
        if len(points) < 2:
            continue
        sizes = [at for at, _ in points]
        spreads = [spread for _, spread in points if spread is not None]
        axes.plot(sizes, [one.median for one in spreads], marker="o", label=name)
        axes.fill_between(
            sizes, [one.low for one in spreads], [one.high for one in spreads], alpha=0.2
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    return _save(figure, axes, path)


def _scores(section: Section, path: Path) -> bool:
    """Draw F1, with its interval, against the bytes that were really kept."""
    figure, axes = _axes(section.title, "bytes kept, mean over the questions", "F1 (normalised)")
    for row in section.rows:
        score = row.figures["squad_f1"] or 0.0
        low, high = row.figures["squad_f1_low"] or 0.0, row.figures["squad_f1_high"] or 0.0
        span = [[max(0.0, score - low)], [max(0.0, high - score)]]
        axes.errorbar([row.figures["kept_bytes"]], [score], yerr=span, fmt="o", label=row.contender)
    axes.set_xscale("log")
    return _save(figure, axes, path)


def _varies(rows: Sequence[Row], name: str) -> bool:
    return len({row.at[name] for row in rows if name in row.at}) > 1


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    # not pyplot: it would choose a window system for the whole process
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> bool:
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    return True
