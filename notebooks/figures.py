"""Figures of the notebooks: they draw what they are given and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

ANCHOR, PLAIN = "#d1495b", "#8d99ae"
FONT_POINTS = 9


def draw_anchors(pieces: Sequence[str], anchors: Sequence[int], *, width: int = 92) -> Figure:
    """Write a text token by token, its anchors marked.

    Args:
        pieces: Text of each token.
        anchors: Indices of those that are anchors.
        width: Characters in a line.
    """
    marked, lines, column = set(anchors), 0, 0
    spots = []
    for index, piece in enumerate(pieces):
        shown = piece.replace("\n", "⏎")
        if column + len(shown) > width:
            lines, column = lines + 1, 0
        spots.append((column, lines, shown, index in marked))
        column += len(shown)
    # a character of this font is about 0.6 of its size wide: so pieces touch, as they do in the text
    figure = plt.figure(figsize=(width * 0.63 * FONT_POINTS / 72, 0.24 * (lines + 2)))
    axes = figure.add_axes((0, 0, 1, 1 - 0.8 / (lines + 2)))
    for column, line, shown, is_anchor in spots:
        axes.text(
            column,
            -line,
            shown,
            family="monospace",
            fontsize=FONT_POINTS,
            color="white" if is_anchor else "black",
            bbox={"facecolor": ANCHOR, "edgecolor": "none", "pad": 0.8} if is_anchor else None,
        )
    axes.set(xlim=(0, width), ylim=(-lines - 0.5, 1))
    axes.set_title(f"{len(marked)} anchors stand for {len(pieces)} tokens", loc="left", fontsize=10)
    axes.axis("off")
    plt.close(figure)
    return figure


def draw_costs(rows: Sequence[Mapping[str, float]], *, x: str = "tokens") -> Figure:
    """Draw cache bytes and time to first token of anchors against the full text.

    Args:
        rows: ``tokens``, ``anchor_kib``, ``full_kib``, ``anchor_ms``, ``full_ms`` each.
        x: What grows along the axis.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
    sizes = [row[x] for row in rows]
    for axes, unit, title in (
        (left, "kib", "KV cache, KiB"),
        (right, "ms", "time to first token, ms (anchors in the store)"),
    ):
        for kind, colour in (("full", PLAIN), ("anchor", ANCHOR)):
            axes.plot(sizes, [row[f"{kind}_{unit}"] for row in rows], "o-", color=colour)
            axes.annotate(
                kind,
                (sizes[-1], rows[-1][f"{kind}_{unit}"]),
                xytext=(5, 0),
                textcoords="offset points",
                color=colour,
                va="center",
            )
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("tokens of context")
        axes.set_ylim(bottom=0)
        axes.set_xlim(right=sizes[-1] * 1.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    plt.close(figure)
    return figure
