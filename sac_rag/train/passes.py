"""Which rows of a batch share a pass: padding is work, and so is one more pass.

Rows of like length go together, so that little is padding. How little pays depends on the device:
a CPU core does every padded token's arithmetic, a GPU would idle in a pass of few tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sac_rag.backbone import Backbone

Passes = Callable[[Sequence[int]], list[list[int]]]
"""From the tokens of each row to the rows of each pass; every row is in one of them."""

CPU_PASS = 32
"""Tokens of padding that cost a CPU core as much as one more pass does."""
GPU_PASS = 8 * 510
"""The same on a GPU, which is not busy with fewer."""

T = TypeVar("T")


def together(lengths: Sequence[int]) -> list[list[int]]:
    """Put all rows into one pass, whatever they are.

    For weights that are shared out (FSDP): every pass gathers them from all processes, which
    therefore must make the same number of passes.
    """
    return [list(range(len(lengths)))]


def by_length(lengths: Sequence[int], *, pass_tokens: int) -> list[list[int]]:
    """Group rows so that the tokens of all passes, padding included, cost least; longest first.

    Args:
        lengths: Tokens of each row.
        pass_tokens: What one more pass costs, in tokens.
    """
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    # of the first n rows: what they cost, and where their last pass begins
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(rows) + 1):
        best.append(
            min(
                (best[start][0] + pass_tokens + (end - start) * lengths[rows[start]], start)
                for start in range(end)
            )
        )
    passes, end = [], len(rows)
    while end:
        start = best[end][1]
        passes.append(rows[start:end])
        end = start
    return passes[::-1]


def like_lengths(backbone: Backbone) -> Passes:
    """Group by length, as it pays on the device where the backbone is when rows come."""

    def group(lengths: Sequence[int]) -> list[list[int]]:
        cost = CPU_PASS if backbone.device.type == "cpu" else GPU_PASS
        return by_length(lengths, pass_tokens=cost)

    return group


def in_passes(
    run: Callable[[list[int]], Sequence[T]], lengths: Sequence[int], passes: Passes
) -> list[T]:
    """Run rows pass by pass; give what came of each, in the order of the rows.

    Args:
        run: From the rows of a pass to the result of each.
        lengths: Tokens of each row.
        passes: Groups them.
    """
    made: dict[int, T] = {}
    for rows in passes(lengths):
        made.update(zip(rows, run(rows), strict=True))
    return [made[row] for row in range(len(lengths))]
