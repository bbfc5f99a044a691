"""What is read from one layer: its output, its anchors, or its output behind anchors.

Steps for ``sac_rag.layer_calls``: each leaves nothing behind, so that it can be run twice.

Shapes: B batch, T tokens, P prompt tokens, A anchors, G key/value heads, K head dim, D model dim.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from sac_rag.rope import rotate_half


def causal_mask(
    config: Any, embeds_BPD: Tensor, mask_BM: Tensor, positions_BP: Tensor, cache: DynamicCache
) -> Tensor | None:
    """Say which of anchors and prompt each prompt token sees, as the attention in use wants it.

    Returns:
        (B, 1, P, M) for M anchors and prompt tokens, None where a plain causal mask will do.
    """
    given: dict[str, Any] = {"past_key_values": cache, "position_ids": positions_BP}
    if "cache_position" in inspect.signature(create_causal_mask).parameters:  # transformers 5.2
        width = embeds_BPD.shape[1]
        given["cache_position"] = torch.arange(mask_BM.shape[1], device=mask_BM.device)[-width:]
    return create_causal_mask(config, embeds_BPD, mask_BM, **given)  # type: ignore[return-value]


def forward(layer: Any, hidden_BTD: Tensor, arguments: dict[str, Any]) -> Tensor:
    """Run the layer without a cache; give its output, (B, T, D)."""
    return layer.forward(hidden_BTD, past_key_values=None, use_cache=False, **arguments)


def record_anchors(
    layer: Any, hidden_BTD: Tensor, anchors_BA: Tensor, arguments: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the layer; give its output, and keys and values of the anchors, (B, G, A, K) each."""
    recorder = _AnchorRecorder(anchors_BA)
    hidden_BTD = layer.forward(hidden_BTD, past_key_values=recorder, use_cache=True, **arguments)
    return hidden_BTD, *recorder.pair


def read_anchors(
    layer: Any,
    hidden_BPD: Tensor,
    keys_BGAK: Tensor,
    values_BGAK: Tensor,
    arguments: dict[str, Any],
) -> Tensor:
    """Run the layer behind anchors, which stay as they are; give its output, (B, P, D)."""
    reader = _AnchorReader(keys_BGAK, values_BGAK)
    return layer.forward(hidden_BPD, past_key_values=reader, use_cache=True, **arguments)


class _AnchorRecorder:
    """Stands where a layer expects its cache; keeps the anchors only, stores nothing else."""

    def __init__(self, anchors_BA: Tensor) -> None:
        self.anchors_BA = anchors_BA
        self.pair: tuple[Tensor, Tensor]

    def update(
        self, keys_BGTK: Tensor, values_BGTK: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        index = self.anchors_BA[:, None, :, None].expand(
            -1, keys_BGTK.shape[1], -1, keys_BGTK.shape[3]
        )
        self.pair = keys_BGTK.gather(2, index), values_BGTK.gather(2, index)
        return keys_BGTK, values_BGTK


class _AnchorReader:
    """Stands where a layer expects its cache; shows the anchors, stores nothing."""

    def __init__(self, keys_BGAK: Tensor, values_BGAK: Tensor) -> None:
        self.keys_BGAK, self.values_BGAK = keys_BGAK, values_BGAK

    def update(
        self, keys_BGPK: Tensor, values_BGPK: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return (
            torch.cat([self.keys_BGAK, keys_BGPK], dim=2),
            torch.cat([self.values_BGAK, values_BGPK], dim=2),
        )


def project_anchors(
    layer: Any, anchor_BAD: Tensor, rotary_BAK: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Give keys and values of the anchors, (B, G, A, K) each, without running the layer."""
    attention = layer.self_attn
    normed_BAD = layer.input_layernorm(anchor_BAD)
    shape = (*normed_BAD.shape[:2], -1, attention.head_dim)
    keys_BAGK = attention.k_proj(normed_BAD).view(shape)
    if hasattr(attention, "k_norm"):  # Qwen3
        keys_BAGK = attention.k_norm(keys_BAGK)
    cos, sin = (part[:, None] for part in rotary_BAK)
    keys_BGAK = keys_BAGK.transpose(1, 2)
    keys_BGAK = keys_BGAK * cos + rotate_half(keys_BGAK) * sin
    values_BGAK = attention.v_proj(normed_BAD).view(shape).transpose(1, 2)
    return keys_BGAK, values_BGAK.contiguous()  # no view: FSDP hooks its backward on what is given
