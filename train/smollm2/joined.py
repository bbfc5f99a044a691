"""Answer questions among several texts of a batch, each of them encoded once.

A text's anchors stand in many contexts at once, at another place in each: their keys are turned to
it, as the library relocates stored anchors, and gradients of all contexts meet in the one encoding.
So training among many texts costs little more than among none.

Shapes: B contexts, A anchors a text, S anchors of a context, G key/value heads, K head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from qa_batches import QuestionBatch
from torch import Tensor

from sac_rag.config import CompressConfig

import fastlama as fl  # isort: skip  # on the path by qa_batches
from chunks import Chunks, lay_out  # isort: skip
from reader import Reader  # isort: skip
from train_sac import Weights, loss_behind  # isort: skip

MULTIPLE = 64
"""S is rounded up to a multiple of this; few shapes are compiled."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Where the anchors of each context come from, and where they stand in it."""

    order: Tensor
    """Indices into (B * A), 0 at padding, (B, S)."""
    seen: Tensor
    """True where ``order`` names an anchor, (B, S)."""
    moved: Tensor
    """Positions by which each is moved from where it was encoded, (B, S)."""
    totals: Tensor
    """Tokens of each context's texts, (B,)."""


def join_texts(chunks: Chunks, joined: list[list[int]]) -> Joined:
    """Join texts of one chunk each.

    Args:
        chunks: The texts, each in a row of its own.
        joined: Rows of each context, in their order.
    """
    rows, most = chunks.present.shape
    counts, lengths = chunks.present.sum(1).tolist(), chunks.filled.sum(1).tolist()
    # room for all texts, however many of them are joined: few shapes
    widest = rows if any(len(texts) > 1 for texts in joined) else 1
    width = -(-widest * most // MULTIPLE) * MULTIPLE
    order, moved = torch.zeros(2, len(joined), width, dtype=torch.int64)
    seen = torch.zeros(len(joined), width, dtype=torch.bool)
    totals = torch.zeros(len(joined), dtype=torch.int64)
    for context, texts in enumerate(joined):
        start = before = 0
        for row in texts:
            end = start + counts[row]
            order[context, start:end] = row * most + torch.arange(counts[row])
            moved[context, start:end] = before
            start, before = end, before + lengths[row]
        seen[context, :start] = True
        totals[context] = before
    return Joined(order=order, seen=seen, moved=moved, totals=totals)


def loss_among(
    reader: Reader, weights: Weights, batch: QuestionBatch, compress: CompressConfig
) -> tuple[Tensor, float]:
    """Encode every text to anchors, and answer its questions behind those of the texts it joins."""
    chunks = lay_out(
        batch.documents,
        ratio=compress.ratio,
        chunk_size=compress.chunk_size,
        multiple=(1, 128, MULTIPLE),
    )
    per_chunk = reader.encode(weights.encoder(), chunks, weights.marks(compress.ratio))
    laid = join_texts(chunks, batch.joined)
    cos, sin = fl.angles(laid.moved, reader.head_dim, reader.theta)
    cache = [
        (fl.turn(keys.flatten(0, 1)[laid.order], cos, sin), values.flatten(0, 1)[laid.order])
        for keys, values in per_chunk
    ]
    return loss_behind(reader, weights, batch, cache, laid.seen, laid.totals + batch.gap)
