"""SAC: anchors are tokens of the text itself (arXiv:2510.08907, section 3).

Chosen tokens get a learned anchor embedding added, the encoder (base model with LoRA, attention
both ways) reads the chunk, and the keys and values of the anchors at every layer are its cache.

In query-aware mode (beyond the paper) the encoder reads the question behind the chunk: its tokens
see and are seen like the chunk's, stand at the ids right behind it (``question_positions``), carry
no mark and leave no anchor. Anchors, their number and their positions stay as they are.
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
from sac_rag.layout import context_positions, question_positions, slots_of
from sac_rag.methods.base import Method
from sac_rag.selection import Scorer, Selector, selector_named

_EMBEDDING_ROWS = {
    "slot": lambda config: config.num_slots,
    "shared": lambda config: 1,
    "none": lambda config: 0,
}


class SAC(Method):
    """Semantic-anchor compression over a shared backbone.

    Args:
        backbone: The base model; its LoRA, if any, is the encoder's.
        config: Ratios, chunk size, selection, attention and kind of anchor embedding.
        selector: Overrides the selector that ``config`` names.
        scorer: Who scores tokens, for the selector ``importance``.
        fingerprint: Identity of model, adapter and settings, carried by every cache.

    Raises:
        ConfigError: If the config names an unknown selector, attention or anchor embedding.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: CompressConfig,
        *,
        selector: Selector | None = None,
        scorer: Scorer | None = None,
        fingerprint: str = "unsaved",
    ) -> None:
        super().__init__(backbone, config, fingerprint=fingerprint)
        if config.anchor_embedding not in _EMBEDDING_ROWS:
            raise ConfigError(
                f"anchor_embedding={config.anchor_embedding!r} is not known; "
                f"choose from {sorted(_EMBEDDING_ROWS)}"
            )
        self.select = selector or selector_named(config.selector, scorer)
        self.identity = "" if scorer is None else scorer.identity
        num_rows = _EMBEDDING_ROWS[config.anchor_embedding](config)
        self.anchor_embeddings = nn.Parameter(
            0.02 * torch.randn(num_rows, backbone.model_dim, device=backbone.device)
        )

    def compress_chunks(self, chunks: Sequence[Chunk]) -> list[AnchorCache]:
        """Encode chunks of any lengths and ratios, with their questions, in one padded pass."""
        device = self.backbone.device
        anchors = [self.select(chunk, self.ratio_of(chunk)) for chunk in chunks]
        anchors_BA = pad_sequence(anchors, batch_first=True).to(device)
        read = [chunk.read_ids for chunk in chunks]
        ids_BT = pad_sequence(read, batch_first=True)
        lengths_B1 = torch.tensor([[len(ids_T)] for ids_T in read])
        mask_BT = torch.arange(ids_BT.shape[1]) < lengths_B1
        positions_BT = pad_sequence([_positions(chunk) for chunk in chunks], batch_first=True)
        positions_BT = positions_BT.to(device)
        marks_BAD = self._anchor_marks(anchors)
        embeds_BTD = self.backbone.embed(ids_BT)
        index_BAD = anchors_BA[..., None].expand_as(marks_BAD)
        keys_BLGAK, values_BLGAK = self.backbone.encode(
            embeds_BTD.scatter_add(1, index_BAD, marks_BAD),
            positions_BT=positions_BT,
            anchors_BA=anchors_BA,
            attention=ATTENTION[self.config.attention],
            mask_BT=None if mask_BT.all() else mask_BT.to(device),
        )
        return [
            AnchorCache(
                keys=keys_BLGAK[row, :, :, : len(picked)],
                values=values_BLGAK[row, :, :, : len(picked)],
                positions=positions_BT[row, picked.to(device)],
                num_tokens=len(chunk),
                fingerprint=self.fingerprint_of(chunk.question_ids),
            )
            for row, (chunk, picked) in enumerate(zip(chunks, anchors, strict=True))
        ]

    def _anchor_marks(self, anchors: Sequence[Tensor]) -> Tensor:
        """What is added at the anchors, (B, A, D); zero where a row has fewer anchors."""
        dtype, device = self.backbone.dtype, self.backbone.device
        rows_BA = pad_sequence([self._rows(picked) for picked in anchors], batch_first=True)
        if self.config.anchor_embedding == "none":
            return torch.zeros(*rows_BA.shape, self.backbone.model_dim, dtype=dtype, device=device)
        counts_B = torch.tensor([len(picked) for picked in anchors])
        present_BA1 = (torch.arange(rows_BA.shape[1]) < counts_B[:, None])[..., None]
        # float32, so that the gradients of a row that many anchors share add up without rounding
        marks_BAD = self.anchor_embeddings.float()[rows_BA.to(device)].to(dtype)
        return marks_BAD * present_BA1.to(device=device, dtype=dtype)

    def _rows(self, picked_A: Tensor) -> Tensor:
        """Which row each anchor gets, (A,): by rank, and at several ratios by place."""
        if self.config.anchor_embedding == "shared":
            return torch.zeros_like(picked_A)
        if self.config.ratios:
            return slots_of(picked_A, self.config.finest)
        return torch.arange(len(picked_A))


def _positions(chunk: Chunk) -> Tensor:
    """Give the position ids of all that the encoder reads of a chunk."""
    return torch.cat(
        [
            context_positions(chunk.start, len(chunk)),
            question_positions(chunk.start, len(chunk), len(chunk.question_ids)),
        ]
    )
