"""The figures, and the only place that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sac_rag.analysis.attention import AttentionMaps
from sac_rag.analysis.gradients import PAIR, GradientCosines
from sac_rag.analysis.kv_map import KINDS, KVMap
from sac_rag.analysis.perplexity import ROADS, Perplexities
from sac_rag.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# told apart in grey and by the colour-blind
BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#B8B8B8", "#009E73"


def draw_gradients(results: Mapping[str, GradientCosines]) -> Figure:
    """Draw each training's cosine over its steps, and that of each layer."""
    figure = _figure(8, 3.2 * len(results))
    for row, (name, found) in enumerate(results.items()):
        left, right = (figure.add_subplot(len(results), 2, 2 * row + side) for side in (1, 2))
        left.axhline(0, color=GREY, linewidth=1)
        left.plot(found.steps, found.cosine, color=BLUE, marker="o", markersize=3)
        left.set(title=f"{name}: all shared weights", ylim=(-1.05, 1.05))
        left.set(xlabel="step", ylabel=f"cosine of gradients\n{' and '.join(PAIR)}")
        image = right.imshow(
            found.by_layer.T, aspect="auto", origin="lower", cmap="PuOr", vmin=-1, vmax=1
        )
        spots = np.unique(np.linspace(0, len(found.steps) - 1, 5).round().astype(int))
        right.set_xticks(spots, found.steps[spots])
        right.set_yticks(_few(found.by_layer.shape[1]))
        right.set(title="by layer", xlabel="step", ylabel="layer")
        figure.colorbar(image, ax=right, label="cosine")
    return figure


def draw_kv_maps(results: Mapping[str, KVMap]) -> Figure:
    """Draw a row of maps for each method: keys by layer, then values by layer."""
    columns = 2 * max(len(found.layers) for found in results.values())
    figure = _figure(2.3 * columns, 2.5 * len(results) + 0.4)
    panels = figure.subplots(len(results), columns, squeeze=False)
    for row, (name, found) in zip(panels, results.items(), strict=True):
        row[0].set_ylabel(name)
        for kind in range(2):
            for column in range(len(found.layers)):
                _scatter(row[kind * columns // 2 + column], found, column, kind)
    for panel in panels.flat:
        if not panel.has_data():
            panel.remove()
    handles = [_dot(ORANGE), _dot(GREY)]
    labels = ["anchors", "ordinary tokens, as the frozen decoder caches them"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_attention(results: Mapping[str, AttentionMaps]) -> Figure:
    """Draw, for each method, the map of its sharpest head, and the shares of every head."""
    figure = _figure(10, 3.4 * len(results))
    # one scale for all methods, so that rows can be compared
    sharpest = max(float(found.diagonal.max()) for found in results.values())
    panels = figure.subplots(len(results), 3, squeeze=False, width_ratios=(1.5, 1, 1))
    for row, (name, found) in zip(panels, results.items(), strict=True):
        diagonal = found.diagonal
        layer, head = np.unravel_index(diagonal.argmax(), diagonal.shape)
        weights = found.to_anchors[layer, head]
        shares = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-12)
        image = row[0].imshow(
            shares.T,
            aspect="auto",
            origin="lower",
            cmap="magma",
            vmax=float(np.quantile(shares, 0.995)),
            extent=(found.query_places[0], found.query_places[-1], 0, found.num_anchors),
        )
        row[0].set(title=f"{name}: layer {layer}, head {head}", ylabel="anchor")
        row[0].set_xlabel("token to be said again")
        figure.colorbar(image, ax=row[0], label="share of attention on anchors")
        own = f"on its own place (chance {found.is_own.mean():.2f})"
        _heads(figure, row[1], diagonal, own, highest=sharpest)
        _heads(figure, row[2], found.mass, "of all attention, on anchors", highest=1.0)
    return figure


def draw_perplexities(results: Mapping[str, Perplexities]) -> Figure:
    """Draw each method's perplexity between full context and none."""
    figure = _figure(6, 1.4 + 0.5 * len(results))
    panel = figure.add_subplot()
    for row, found in enumerate(results.values()):
        full, none = found.perplexity("full"), found.perplexity("none")
        panel.plot([full, none], [row, row], color=GREY, zorder=1)
        for road, colour in zip(ROADS, (ORANGE, BLUE, GREEN), strict=True):
            panel.scatter(found.perplexity(road), row, color=colour, zorder=2)
        panel.annotate(
            f"{found.perplexity('compressed'):,.4g}",
            (found.perplexity("compressed"), row),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            fontsize=9,
        )
    panel.set_yticks(range(len(results)), list(results))
    panel.set(xlabel="perplexity of the continuation", xscale="log")
    panel.set(ylim=(len(results) - 0.4, -0.7))
    panel.margins(x=0.12)
    labels = ["behind anchors", "behind the whole text", "behind its first token"]
    handles = [_dot(colour) for colour in (ORANGE, BLUE, GREEN)]
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the name says how (.png, .pdf, .svg)."""
    figure.savefig(path, dpi=150)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "a figure needs matplotlib, which is not installed; pip install 'sac-rag[analysis]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _scatter(panel: Any, found: KVMap, column: int, kind: int) -> None:
    points_N2 = found.points[column, kind]
    for chosen_N, colour, size in ((~found.is_anchor, GREY, 5), (found.is_anchor, ORANGE, 9)):
        panel.scatter(*points_N2[chosen_N].T, s=size, color=colour, linewidths=0, rasterized=True)
    clumping = found.clumping[column, kind]
    title = f"{KINDS[kind]}, layer {found.layers[column]}"
    panel.set_title(f"{title}\nclumping {clumping:.1f}", fontsize=9)
    panel.set(xticks=[], yticks=[])


def _heads(
    figure: Figure, panel: Any, shares_LH: np.ndarray, title: str, *, highest: float
) -> None:
    image = panel.imshow(shares_LH, aspect="auto", cmap="viridis", vmin=0, vmax=highest)
    panel.set(title=title, xlabel="head", ylabel="layer")
    panel.title.set_fontsize(9)
    panel.set_xticks(_few(shares_LH.shape[1]))
    panel.set_yticks(_few(shares_LH.shape[0]))
    figure.colorbar(image, ax=panel)


def _few(count: int) -> list[int]:
    """Choose about eight of so many numbers, for an axis."""
    return list(range(0, count, -(-count // 8)))


def _dot(colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linestyle="", markersize=6)
