"""Lay documents out as padded chunks for the encoder, and their anchors as each context's cache.

Positions, anchors and chunk bounds are the library's own (``sac_rag.layout``). Documents that are
joined stand behind each other: encoding a chunk at its final place gives what relocating its
stored anchors gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sac_rag.layout import context_positions, midpoint_indices


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """Chunks of all the documents of a batch."""

    ids: Tensor
    """(C, T)."""
    filled: Tensor
    """True at tokens, False at padding, (C, T)."""
    positions: Tensor
    """Position ids, in the joined context, (C, T)."""
    anchors: Tensor
    """Local indices of the anchors, 0 where there is none, (C, A)."""
    present: Tensor
    """True where there is an anchor, (C, A)."""
    order: Tensor
    """Each context's anchors, as indices into (C * A), 0 at padding, (B, S)."""
    seen: Tensor
    """True where ``order`` names an anchor, (B, S)."""
    totals: Tensor
    """Source tokens of each context, (B,): where the task token stands."""


def lay_out(
    contexts: list[list[list[int]]], *, ratio: int, chunk_size: int, multiple: tuple[int, int, int]
) -> Chunks:
    """Cut every document of every context into chunks.

    Args:
        contexts: Ids of the documents of each context, as the encoder sees them.
        ratio: Tokens per anchor.
        chunk_size: Tokens per chunk.
        multiple: C, T and S are rounded up to multiples of these, so that a compiled step sees
            few shapes.
    """
    rows: list[tuple[list[int], Tensor, Tensor]] = []
    owners: list[list[int]] = []
    totals = []
    for documents in contexts:
        before, owned = 0, []
        for ids in documents:
            for start in range(0, len(ids), chunk_size):
                part = ids[start : start + chunk_size]
                owned.append(len(rows))
                places = context_positions(before + start, len(part))
                rows.append((part, places, midpoint_indices(len(part), ratio)))
            before += len(ids)
        owners.append(owned)
        totals.append(before)
    count, width = (
        round_up(len(rows), multiple[0]),
        round_up(max(len(part) for part, _, _ in rows), multiple[1]),
    )
    most = min(-(-width // ratio), chunk_size // ratio)
    ids, positions = torch.zeros(2, count, width, dtype=torch.int64)
    filled = torch.zeros(count, width, dtype=torch.bool)
    anchors = torch.zeros(count, most, dtype=torch.int64)
    present = torch.zeros(count, most, dtype=torch.bool)
    for row, (part, places, picked) in enumerate(rows):
        ids[row, : len(part)], positions[row, : len(part)] = torch.tensor(part), places
        filled[row, : len(part)] = True
        anchors[row, : len(picked)], present[row, : len(picked)] = picked, True
    flat = [
        torch.cat([row * most + torch.arange(len(rows[row][2])) for row in owned])
        for owned in owners
    ]
    longest = round_up(max(map(len, flat)), multiple[2])
    order = torch.zeros(len(contexts), longest, dtype=torch.int64)
    seen = torch.zeros(len(contexts), longest, dtype=torch.bool)
    for b, indices in enumerate(flat):
        order[b, : len(indices)], seen[b, : len(indices)] = indices, True
    return Chunks(
        ids=ids,
        filled=filled,
        positions=positions,
        anchors=anchors,
        present=present,
        order=order,
        seen=seen,
        totals=torch.tensor(totals),
    )


def round_up(number: int, multiple: int) -> int:
    """Give the next multiple, so that a compiled step sees few shapes."""
    return -(-number // multiple) * multiple


def arrange(cache: list[tuple[Tensor, Tensor]], chunks: Chunks) -> list[tuple[Tensor, Tensor]]:
    """Turn each layer's anchors per chunk, (C, A, G, K), into a cache per context, (B, S, G, K)."""
    return [
        (keys.flatten(0, 1)[chunks.order], values.flatten(0, 1)[chunks.order])
        for keys, values in cache
    ]
