"""SAC: anchors are tokens of the text itself (arXiv:2510.08907, section 3).

Chosen tokens get a learned anchor embedding added, the encoder (base model with LoRA, attention
both ways) reads the chunk, and the keys and values of the anchors at every layer are its cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.backbone import ATTENTION, Backbone
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.layout import context_positions
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
        config: Ratio, chunk size, selection, attention and kind of anchor embedding.
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
        """Encode chunks of any lengths in one padded pass."""
        device = self.backbone.device
        anchors = [self.select(chunk, self.config.ratio) for chunk in chunks]
        anchors_BA = pad_sequence(anchors, batch_first=True).to(device)
        ids_BT = pad_sequence([chunk.token_ids for chunk in chunks], batch_first=True)
        lengths_B1 = torch.tensor([[len(chunk)] for chunk in chunks])
        mask_BT = torch.arange(ids_BT.shape[1]) < lengths_B1
        positions_BT = pad_sequence(
            [context_positions(chunk.start, len(chunk)) for chunk in chunks], batch_first=True
        ).to(device)
        marks_BAD = self._anchor_marks([len(picked) for picked in anchors])
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
                fingerprint=self.fingerprint,
            )
            for row, (chunk, picked) in enumerate(zip(chunks, anchors, strict=True))
        ]

    def _anchor_marks(self, counts: list[int]) -> Tensor:
        """What is added at the anchors, (B, A, D); zero where a row has fewer anchors."""
        dtype, device = self.backbone.dtype, self.backbone.device
        num_columns, num_rows = max(counts), self.anchor_embeddings.shape[0]
        if num_rows == 0:
            return torch.zeros(
                len(counts), num_columns, self.backbone.model_dim, dtype=dtype, device=device
            )
        slots_AD = self.anchor_embeddings[:num_columns] if num_rows > 1 else self.anchor_embeddings
        present_BA = torch.arange(num_columns) < torch.tensor(counts)[:, None]
        present_BA1 = present_BA[..., None].to(device=device, dtype=dtype)
        return slots_AD.to(dtype).expand(num_columns, -1) * present_BA1
