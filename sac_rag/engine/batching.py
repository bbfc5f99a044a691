"""Chunks in batches: of like length, within the memory there is, smaller when it runs out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from sac_rag.anchor_cache import AnchorCache
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.errors import GenerationCancelledError

logger = logging.getLogger(__name__)

CPU_TOKENS = 8 * 510
"""Tokens of one pass on a CPU, padding included. More gains nothing there: a chunk alone keeps a
core busy."""
MOST_TOKENS = 64 * 510
"""Tokens of one pass on a GPU, however much memory is free. More gains nothing there either, and
delays whoever wants to cancel."""
MEMORY_SHARE = 0.5
"""Of the free memory that a pass may count on; the estimate per token is a rough one."""
FILLED = 0.75
"""Shortest chunk of a batch, as a share of its longest: the rest would be padding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """One batch, done."""

    indices: list[int]
    """Which of the chunks."""
    caches: list[AnchorCache]
    """Their anchors, in the same order."""
    seconds: float
    """What the batch took."""


def free_tokens(backbone: Backbone) -> int:
    """Give the tokens of one pass, padding included, that free memory has room for."""
    device = backbone.device
    if device.type != "cuda":
        return CPU_TOKENS
    free = free_cuda_bytes(device)
    return max(1, min(MOST_TOKENS, int(MEMORY_SHARE * free) // bytes_per_token(backbone)))


def free_cuda_bytes(device: torch.device) -> int:
    """Give the memory that a CUDA device has left, in bytes."""
    free, _ = torch.cuda.mem_get_info(device)
    # what torch holds and does not use is free as well
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def bytes_per_token(backbone: Backbone) -> int:
    """Estimate the bytes that one token of a pass takes: a layer's states, and all anchors."""
    config = backbone.config
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    states = 4 * config.hidden_size + 3 * config.intermediate_size + 2 * heads * backbone.head_dim
    # as if every token were an anchor: twice, for they are stacked
    return states * backbone.dtype.itemsize + 2 * backbone.token_bytes


class Batches:
    """Runs chunks through an encoder in batches.

    Chunks of full length have batches of their own: nothing is padding, so attention needs no
    mask, and every batch has the same shape but for the last. When memory runs out the batch is
    halved and tried again, and later ones stay as small.

    Args:
        encode: From chunks to their anchors.
        tokens: Gives the tokens that one pass may take.
        full: Tokens of a full chunk.
    """

    def __init__(
        self,
        encode: Callable[[list[Chunk]], list[AnchorCache]],
        *,
        tokens: Callable[[], int],
        full: int,
    ) -> None:
        self._encode = encode
        self._tokens = tokens
        self._full = full
        self._most: int | None = None

    def run(
        self, chunks: Sequence[Chunk], *, cancel: threading.Event | None = None
    ) -> Iterator[Encoded]:
        """Encode chunks, those of a batch together, longest first.

        Raises:
            GenerationCancelledError: If ``cancel`` is set before a batch.
            torch.OutOfMemoryError: If there is no memory for a single chunk.
        """
        waiting = self.group(chunks, range(len(chunks)))
        while waiting:
            if cancel is not None and cancel.is_set():
                raise GenerationCancelledError("the caller stopped while documents were encoded")
            batch = waiting.pop(0)
            began = time.perf_counter()
            caches = self._try([chunks[index] for index in batch])
            if caches is not None:
                seconds = time.perf_counter() - began
                yield Encoded(indices=batch, caches=caches, seconds=seconds)
            else:
                rest = [index for one in (batch, *waiting) for index in one]
                waiting = self.group(chunks, rest)

    def group(self, chunks: Sequence[Chunk], indices: Sequence[int]) -> list[list[int]]:
        """Group chunks of like length within the budget, longest first."""
        budget = self._tokens() if self._most is None else min(self._tokens(), self._most)
        batches: list[list[int]] = []
        for index in sorted(indices, key=lambda index: -chunks[index].num_read):
            first = chunks[batches[-1][0]] if batches else None
            if (
                first is not None
                and len(batches[-1]) < budget // first.num_read
                and self._alike(first, chunks[index])
            ):
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches

    def _alike(self, first: Chunk, other: Chunk) -> bool:
        if len(first) == self._full:
            return other.num_read == first.num_read
        return other.num_read >= FILLED * first.num_read

    def _try(self, chunks: list[Chunk]) -> list[AnchorCache] | None:
        """Encode a batch; None if memory ran out and fewer chunks may fit."""
        try:
            return self._encode(chunks)
        except torch.OutOfMemoryError as error:
            if len(chunks) == 1:
                raise
            self._most = len(chunks) * chunks[0].num_read // 2
            logger.warning(
                "no memory for %d chunks together, going on with half: %s", len(chunks), error
            )
        # behind the except block, whose error holds what the failed pass had allocated
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None
