"""Lay anchors and prompts of a batch out for one decoder pass.

Rows differ in anchors and prompt length, so both are padded on the left and masked. What the
decoder then reads is ``[anchors][LM][prompt]``; a row without anchors is a plain prompt.

Shapes: B batch, P prompt tokens, M cached tokens, L layers, G heads, A anchors, K head dim, D dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from sac_rag.backbone import Backbone
from sac_rag.generation.cache import Anchors, StandingCache, stack_anchors
from sac_rag.layout import prompt_positions, task_position


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One row: the documents' anchors, if any, and the plain tokens behind them."""

    token_ids: Sequence[int]
    """Plain text behind the anchors; at least one token."""
    anchors: Anchors | None = None
    """Documents."""
    task_embedding: Tensor | None = None
    """[LM] or [AE], (D,), between anchors and text; None where the adapter has none."""
    task_at: int | None = None
    """Position id of the task token; None for where the documents end."""

    @property
    def last_position(self) -> int:
        """Position id of the last token."""
        return self.first_position - 1 + len(self.token_ids)

    @property
    def first_position(self) -> int:
        """Position id of the first token of text."""
        if self.task_at is not None:
            return self.task_at + 1
        return 0 if self.anchors is None else task_position(self.anchors.span) + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """A batch ready for the decoder."""

    cache: DynamicCache
    """Anchors of all rows, (B, G, A, K) a layer; empty if there are none."""
    embeds_BPD: Tensor
    """[LM] and prompt."""
    mask_BM: Tensor
    """1 at anchors and tokens, 0 at padding; covers cache and prompt."""
    positions_BP: Tensor
    """Position ids of [LM] and prompt; 0 at padding."""
    ids_BP: Tensor
    """Token ids of the prompt; padding id at padding and [LM]."""


def lay_out(
    prompts: Sequence[Prompt],
    *,
    backbone: Backbone,
    pad_id: int,
    room_for: int | None = None,
    standing: StandingCache | None = None,
) -> Layout:
    """Pad a batch of prompts and their anchors to one shape.

    Args:
        prompts: The rows.
        backbone: The decoder.
        pad_id: Token id at padding.
        room_for: Tokens of an answer that the cache has room for, behind the prompts; None for a
            cache without room, that lets gradients through.
        standing: The one prompt's anchors, laid out before.
    """
    device = backbone.device
    anchors = [prompt.anchors for prompt in prompts]
    width = max(len(p.token_ids) + (p.task_embedding is not None) for p in prompts)
    if standing is None:
        room = 0 if room_for is None else width + room_for
        cache = stack_anchors(anchors, backbone=backbone, room=room)
    else:
        assert anchors == [standing.anchors]
        cache = standing.cache
    ids_BP = torch.full((len(prompts), width), pad_id)
    positions_BP = torch.zeros((len(prompts), width), dtype=torch.int64)
    mask_BP = torch.zeros((len(prompts), width), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        length = len(prompt.token_ids)
        ids_BP[row, width - length :] = torch.as_tensor(list(prompt.token_ids))
        first = prompt.first_position
        positions_BP[row, width - length :] = prompt_positions(first - 1, length)
        mask_BP[row, width - length :] = 1
        if prompt.task_embedding is not None:
            positions_BP[row, width - length - 1] = first - 1
            mask_BP[row, width - length - 1] = 1
    embeds_BPD = backbone.embed(ids_BP)
    for row, prompt in enumerate(prompts):
        if prompt.task_embedding is not None:
            spot = width - len(prompt.token_ids) - 1
            embeds_BPD = embeds_BPD.index_put(
                (torch.tensor(row, device=device), torch.tensor(spot, device=device)),
                prompt.task_embedding.to(embeds_BPD),
            )
    return Layout(
        cache=cache,
        embeds_BPD=embeds_BPD,
        mask_BM=torch.cat([_anchor_mask(anchors), mask_BP], dim=1).to(device),
        positions_BP=positions_BP.to(device),
        ids_BP=ids_BP.to(device),
    )


def _anchor_mask(anchors: Sequence[Anchors | None]) -> Tensor:
    counts = [0 if row is None else len(row) for row in anchors]
    width = max(counts)
    return (torch.arange(width) >= width - torch.tensor(counts)[:, None]).to(torch.int64)
