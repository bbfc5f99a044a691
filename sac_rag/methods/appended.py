"""Methods that append learned memory tokens to a chunk: EPL and 500xCompressor.

The memory's keys and values at every layer are the cache. The two differ in where it stands:
500xCompressor (arXiv:2408.03094) counts on behind the chunk, in every chunk anew; the enhanced
position layout (EPL, arXiv:2409.14364) puts each memory token amid the segment it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.attention import ATTENTION
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.layout import (
    context_positions,
    midpoint_indices,
    num_anchors,
    restarted_positions,
)
from sac_rag.methods.base import Method


class AppendedMemory(Method):
    """What the methods with appended memory share.

    Args:
        backbone: The base model; its LoRA is the encoder's.
        config: Ratio and chunk size give the number of memory tokens; attention is causal in the
            originals. At several ratios a memory token has the vector of the run it stands for.
        fingerprint: Identity of model, adapter and settings.
    """

    def __init__(
        self, backbone: Backbone, config: CompressConfig, *, fingerprint: str = "unsaved"
    ) -> None:
        super().__init__(backbone, config, fingerprint=fingerprint)
        self.memory_embeddings = nn.Parameter(self.like_a_token(config.num_slots))

    def positions(self, chunk: Chunk, num_memory: int) -> tuple[Tensor, Tensor, int]:
        """Give position ids of context and memory, and the positions that the chunk takes up."""
        raise NotImplementedError

    def compress_chunks(self, chunks: Sequence[Chunk]) -> list[AnchorCache]:
        """Encode chunks with their memory behind them in one padded pass."""
        device, counts = self.backbone.device, self.count_memory(chunks)
        placed = [self.positions(chunk, count) for chunk, count in zip(chunks, counts, strict=True)]
        embeds_BTD, memory_BA, mask_BT = self.append_memory(chunks, counts)
        positions_BT = pad_sequence(
            [torch.cat([context, memory]) for context, memory, _ in placed], batch_first=True
        )
        keys_BLGAK, values_BLGAK = self.backbone.encode(
            embeds_BTD,
            positions_BT=positions_BT.to(device),
            anchors_BA=memory_BA,
            attention=ATTENTION[self.config.attention],
            mask_BT=mask_BT,
        )
        return [
            AnchorCache(
                keys=keys_BLGAK[row, :, :, :count],
                values=values_BLGAK[row, :, :, :count],
                positions=memory.to(device),
                num_tokens=len(chunk),
                span=span,
                fingerprint=self.fingerprint,
            )
            for row, (chunk, count, (_, memory, span)) in enumerate(
                zip(chunks, counts, placed, strict=True)
            )
        ]

    def count_memory(self, chunks: Sequence[Chunk]) -> list[int]:
        """Count each chunk's memory tokens: as many as SAC would keep anchors.

        Raises:
            ConfigError: If a chunk comes with a question.
        """
        if any(chunk.question_ids for chunk in chunks):
            raise ConfigError(
                f"query-aware compression is SAC's; {type(self).__name__} reads no question beside "
                "a chunk: use method sac, or compress without a question"
            )
        return [num_anchors(len(chunk), self.ratio_of(chunk)) for chunk in chunks]

    def append_memory(
        self, chunks: Sequence[Chunk], counts: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Lay out (embeddings (B, T, D), indices of the memory (B, A), mask (B, T) or None)."""
        device = self.backbone.device
        memory_AD = self.memory_embeddings.to(self.backbone.dtype)
        rows = [
            torch.cat([self.backbone.embed(chunk.token_ids), memory_AD[self.slots(chunk)]])
            for chunk in chunks
        ]
        spots = [
            torch.arange(len(chunk), len(chunk) + count)
            for chunk, count in zip(chunks, counts, strict=True)
        ]
        lengths = torch.tensor([len(row) for row in rows])
        mask_BT = torch.arange(int(lengths.max())) < lengths[:, None]
        return (
            pad_sequence(rows, batch_first=True),
            pad_sequence(spots, batch_first=True).to(device),
            None if mask_BT.all() else mask_BT.to(device),
        )


class EPL(AppendedMemory):
    """Enhanced position layout (arXiv:2409.14364): memory stands amid what it stands for."""

    def positions(self, chunk: Chunk, num_memory: int) -> tuple[Tensor, Tensor, int]:
        """Count the context on over the text; put memory at the anchors' places."""
        context = context_positions(chunk.start, len(chunk))
        return context, context[midpoint_indices(len(chunk), self.ratio_of(chunk))], len(chunk)


class FiveHundred(AppendedMemory):
    """500xCompressor (arXiv:2408.03094) in the default layout."""

    def positions(self, chunk: Chunk, num_memory: int) -> tuple[Tensor, Tensor, int]:
        """Count anew in every chunk, memory behind context.

        What follows begins behind as many positions as there are memory tokens, as in the released
        code of EPL's authors: text can stand at a smaller id than the memory it reads.
        """
        context, memory = restarted_positions(len(chunk), num_memory)
        return context, memory, num_memory
