"""In-context autoencoder (arXiv:2307.06945): the memory's last hidden states stand for the chunk.

The original hands them to the decoder as soft tokens. Here they are pushed once through the frozen
decoder, which gives the keys and values it would have made of them, and so an anchor cache like any
other. Chunks are pushed apart: the memory of one does not see that of the chunk before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.attention import ATTENTION, causal
from sac_rag.chunking import Chunk
from sac_rag.layout import num_anchors_of_text, restarted_positions
from sac_rag.methods.appended import AppendedMemory


class ICAE(AppendedMemory):
    """In-context autoencoder over a shared backbone, default position layout."""

    def compress_chunks(self, chunks: Sequence[Chunk]) -> list[AnchorCache]:
        """Encode chunks with their memory, then read the memory with the frozen decoder."""
        device, counts = self.backbone.device, self.count_memory(chunks)
        embeds_BTD, memory_BA, mask_BT = self.append_memory(chunks, counts)
        positions_BT = pad_sequence(
            [
                torch.cat(restarted_positions(len(chunk), count))
                for chunk, count in zip(chunks, counts, strict=True)
            ],
            batch_first=True,
        )
        soft_BAD = self.backbone.last_hidden(
            embeds_BTD,
            positions_BT=positions_BT.to(device),
            wanted_BA=memory_BA,
            attention=ATTENTION[self.config.attention],
            mask_BT=mask_BT,
        )
        places = [
            self._memory_before(chunk) + torch.arange(count)
            for chunk, count in zip(chunks, counts, strict=True)
        ]
        places_BA = pad_sequence(places, batch_first=True).to(device)
        every_BA = torch.arange(places_BA.shape[1], device=device).expand_as(places_BA)
        with self.backbone.decoding():
            keys_BLGAK, values_BLGAK = self.backbone.encode(
                soft_BAD, positions_BT=places_BA, anchors_BA=every_BA, attention=causal
            )
        return [
            AnchorCache(
                keys=keys_BLGAK[row, :, :, :count],
                values=values_BLGAK[row, :, :, :count],
                positions=places[row].to(device),
                num_tokens=len(chunk),
                span=count,
                fingerprint=self.fingerprint,
            )
            for row, (chunk, count) in enumerate(zip(chunks, counts, strict=True))
        ]

    def _memory_before(self, chunk: Chunk) -> int:
        return num_anchors_of_text(
            chunk.start, ratio=self.ratio_of(chunk), chunk_size=self.config.chunk_size
        )
