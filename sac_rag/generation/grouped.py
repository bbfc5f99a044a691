"""Attention on a CPU whose query heads share keys where they lie.

With a mask, transformers' ``sdpa`` may copy keys and values once per query head before it attends:
on a GPU that is the faster road, on a CPU the copy takes longer than the attention. A prompt behind
anchors always has a mask. A single token sees all there is, and its query heads are so many rows
that read the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sac_rag.backbone import Backbone

NAME = "sac_rag_grouped"


@contextmanager
def grouped_attention(backbone: Backbone) -> Iterator[None]:
    """Attend so while a model on a CPU decodes; any other is left as it is."""
    config = backbone.config
    if backbone.device.type != "cpu" or config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(NAME, _grouped)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def _grouped(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    shape = query.shape
    if shape[2] == 1:  # one token: its query heads are rows of their group's product
        query = query.reshape(key.shape[0], key.shape[1], -1, key.shape[3])
    elif attention_mask is None:
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return attend(module, query, key, value, None, dropout=dropout, scaling=scaling, **kwargs)
    attended = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    attended = attended.reshape(shape)
    return attended.transpose(1, 2).contiguous(), None
