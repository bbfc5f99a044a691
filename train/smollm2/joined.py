"""Answer questions among several texts of a batch, each of them encoded once.

A text's anchors stand in many contexts at once, at another place in each: their keys are turned to
it, as the library relocates stored anchors, and gradients of all contexts meet in the one encoding.
So training among many texts costs little more than among none.

Shapes: B contexts, A anchors a text, S anchors of a context, G key/value heads, K head dimension.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from qa_batches import QuestionBatch
from torch import Tensor

from sac_rag.config import CompressConfig

import fastlama as fl  # isort: skip  # on the path by qa_batches
from chunks import Chunks, arrange, lay_out, round_up  # isort: skip
from reader import Reader  # isort: skip
from train_sac import Weights, loss_behind  # isort: skip

MULTIPLE = 64
"""S is rounded up to a multiple of this; few shapes are compiled."""


def join_texts(chunks: Chunks, joined: list[list[int]]) -> tuple[Chunks, Tensor]:
    """Join texts of one chunk each.

    Args:
        chunks: The texts, each in a row of its own.
        joined: Rows of each context, in their order.

    Returns:
        The same chunks in these contexts, and the positions by which each of their anchors is moved
        from where it was encoded, (B, S).
    """
    rows, most = chunks.present.shape
    counts, lengths = chunks.present.sum(1).tolist(), chunks.filled.sum(1).tolist()
    # room for all texts, however many of them are joined: few shapes
    widest = rows if any(len(texts) > 1 for texts in joined) else 1
    width = round_up(widest * most, MULTIPLE)
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
    return replace(chunks, order=order, seen=seen, totals=totals), moved


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
    laid, moved = join_texts(chunks, batch.joined)
    cos, sin = fl.angles(moved, reader.head_dim, reader.theta)
    cache = [(fl.turn(keys, cos, sin), values) for keys, values in arrange(per_chunk, laid)]
    return loss_behind(reader, weights, batch, cache, laid.seen, laid.totals + batch.gap)
