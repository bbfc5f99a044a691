"""Who sees whom in the encoder.

A pattern is asked for the masks of whole layers, and for what the anchors alone see, where only
they go on.

Shapes: B batch, T tokens, A anchors, D model dim.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.masking_utils import create_bidirectional_mask

MASKED = ("sdpa", "eager")
"""transformers' attention implementations that take a mask of fewer queries than keys."""


class Attention(Protocol):
    """A pattern of attention within a chunk, padded on the right."""

    def __call__(
        self, config: Any, embeds_BTD: Tensor, mask_BT: Tensor | None
    ) -> tuple[Tensor | None, bool]:
        """Give a whole layer's (attention mask, is_causal).

        Args:
            config: The model's; says which attention implementation will read the mask.
            embeds_BTD: Gives shape, device and precision.
            mask_BT: True at tokens, False at padding; None if there is none.
        """
        ...

    def seen(self, mask_BT: Tensor | None, anchors_BA: Tensor, num_tokens: int) -> Tensor | None:
        """Say which tokens each anchor sees, (B, A or 1, T) bool; None for all of them."""
        ...


class _Bidirectional:
    def __call__(
        self, config: Any, embeds_BTD: Tensor, mask_BT: Tensor | None
    ) -> tuple[Tensor | None, bool]:
        # Not left to the library, which builds a mask of ones where a version of it, or an
        # implementation of attention, does not know that there is nothing to hide.
        if mask_BT is None:
            return None, False
        mask = create_bidirectional_mask(
            config=config, inputs_embeds=embeds_BTD, attention_mask=mask_BT
        )
        return mask, False  # type: ignore[return-value]

    def seen(self, mask_BT: Tensor | None, anchors_BA: Tensor, num_tokens: int) -> Tensor | None:
        return None if mask_BT is None else mask_BT[:, None]


class _Causal:
    def __call__(
        self, config: Any, embeds_BTD: Tensor, mask_BT: Tensor | None
    ) -> tuple[Tensor | None, bool]:
        if config._attn_implementation != "eager":
            return None, True
        # eager attention hides nothing by itself
        num_tokens = embeds_BTD.shape[1]
        every_1T = torch.arange(num_tokens, device=embeds_BTD.device)[None]
        seen = self.seen(mask_BT, every_1T, num_tokens)
        return anchor_mask(config, seen, embeds_BTD.dtype), False

    def seen(self, mask_BT: Tensor | None, anchors_BA: Tensor, num_tokens: int) -> Tensor | None:
        return torch.arange(num_tokens, device=anchors_BA.device) <= anchors_BA[..., None]


bidirectional = _Bidirectional()
"""Every token sees every other of its chunk: the paper's encoder."""
causal = _Causal()
"""A token sees those before it; padding on the right is then never seen."""

ATTENTION: dict[str, Attention] = {"bidirectional": bidirectional, "causal": causal}


def anchor_mask(config: Any, seen: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Write what the anchors see as the attention in use takes it, (B, 1, A or 1, T)."""
    if seen is None:
        return None
    seen = seen[:, None]
    if config._attn_implementation == "sdpa":
        return seen
    hidden = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, hidden)
