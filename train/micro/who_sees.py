"""Which token sees which: causal, within its group, and only the documents and its own question.

One rule, two forms: a dense mask for ``sdpa``, which runs everywhere, and a block mask for
``flex_attention``, which skips what nobody sees (CUDA). Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Mask = Any
"""What a model's ``attention_mask`` takes: a Tensor (B, 1, T, T), or a ``BlockMask``."""


def rule(groups_BT: Tensor, questions_BT: Tensor) -> Callable[[Any, Any, Any, Any], Any]:
    """Give the rule over (row, head, query, key)."""

    def sees(row: Any, head: Any, query: Any, key: Any) -> Any:
        ours = groups_BT[row, query] == groups_BT[row, key]
        question = questions_BT[row, key]
        said = (question == 0) | (question == questions_BT[row, query])
        return (key <= query) & ours & said

    return sees


def dense(groups_BT: Tensor, questions_BT: Tensor) -> Tensor:
    """Write the rule out, (B, 1, T, T), True where a query sees a key."""
    width = groups_BT.shape[1]
    place = torch.arange(width, device=groups_BT.device)
    ours = groups_BT[:, :, None] == groups_BT[:, None, :]
    question = questions_BT[:, None, :]
    said = (question == 0) | (question == questions_BT[:, :, None])
    return (ours & said & (place[None, :] <= place[:, None]))[:, None]


def blocks(groups_BT: Tensor, questions_BT: Tensor) -> Mask:
    """Write the rule as blocks that are seen in full, in part, or not at all."""
    from torch.nn.attention.flex_attention import create_block_mask

    count, width = groups_BT.shape
    device = groups_BT.device
    # compiled it holds no (B, T, T) in memory
    make = torch.compile(create_block_mask) if device.type == "cuda" else create_block_mask
    return make(rule(groups_BT, questions_BT), count, None, width, width, device=device)


MASKS: dict[str, Callable[[Tensor, Tensor], Mask]] = {"sdpa": dense, "flex_attention": blocks}
"""By transformers' name of the attention."""
