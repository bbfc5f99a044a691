"""One pass of the encoder over the layers: all that the anchors need, and no more.

Of the last layer that is norm and key/value projections at the anchors; of the layer before it keys
and values everywhere, but queries, output projection and MLP at the anchors alone, for nobody reads
what else it would give. Both are exact, and the same in training.

Shapes: B batch, T tokens, A anchors, L layers, G key/value heads, K head dim, D model dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sac_rag.attention import MASKED, Attention, anchor_mask
from sac_rag.layer_calls import LayerCall
from sac_rag.layer_steps import forward, project_anchors, record_anchors

EncoderPass = Callable[..., tuple[Tensor, Tensor]]
"""From (layers, embeds_BTD, plan, call_layer) to the anchors' keys and values: ``run_encoder``, or
something that gives the same in another way."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What the layers of one pass are given."""

    anchors_BA: Tensor
    """Local indices of the tokens that are wanted."""
    whole: dict[str, Any]
    """Arguments of a layer that runs for all tokens."""
    alone: dict[str, Any] | None
    """Arguments of a layer that runs for the anchors; None where that does not pay, or cannot be
    said to the attention in use."""
    rotary_BAK: list[Tensor]
    """Cosines and sines at the anchors."""


def plan_pass(
    config: Any,
    embeds_BTD: Tensor,
    *,
    rotary: tuple[Tensor, Tensor],
    anchors_BA: Tensor,
    attention: Attention,
    mask_BT: Tensor | None,
) -> Plan:
    """Work out masks and angles, once for all layers."""
    num_rows, num_tokens = embeds_BTD.shape[:2]
    mask, is_causal = attention(config, embeds_BTD, mask_BT)
    rotary_BAK = [
        gather_tokens(part.expand(num_rows, -1, -1), anchors_BA)  # one row may stand for all
        for part in rotary
    ]
    alone = None
    if anchors_BA.shape[1] < num_tokens:
        seen = attention.seen(mask_BT, anchors_BA, num_tokens)
        if seen is None or config._attn_implementation in MASKED:
            alone = {
                "attention_mask": anchor_mask(config, seen, embeds_BTD.dtype),
                "position_embeddings": tuple(rotary_BAK),
                "is_causal": False,
            }
    # No position ids: layers take them for the bounds of packed texts, where they jump.
    whole = {"attention_mask": mask, "position_embeddings": rotary, "is_causal": is_causal}
    return Plan(anchors_BA=anchors_BA, whole=whole, alone=alone, rotary_BAK=rotary_BAK)


def run_encoder(
    layers: Sequence[Any], embeds_BTD: Tensor, plan: Plan, call_layer: LayerCall
) -> tuple[Tensor, Tensor]:
    """Give the anchors' keys and values of every layer, (B, L, G, A, K) each."""
    hidden_BTD, kept = embeds_BTD, []
    for layer in layers[:-2]:
        hidden_BTD, *pair = call_layer(
            record_anchors, layer, hidden_BTD, plan.anchors_BA, plan.whole
        )
        kept.append(pair)
    if len(layers) > 1:
        anchor_BAD, *pair = _narrow(layers[-2], hidden_BTD, plan, call_layer)
        kept.append(pair)
    else:
        anchor_BAD = gather_tokens(hidden_BTD, plan.anchors_BA)
    kept.append(call_layer(project_anchors, layers[-1], anchor_BAD, plan.rotary_BAK))
    keys, values = zip(*kept, strict=True)
    return torch.stack(keys, dim=1), torch.stack(values, dim=1)


def run_to_end(
    layers: Sequence[Any], embeds_BTD: Tensor, plan: Plan, call_layer: LayerCall
) -> Tensor:
    """Give the last layer's output at the wanted tokens, (B, A, D), before the final norm."""
    hidden_BTD = embeds_BTD
    for layer in layers[:-1]:
        hidden_BTD = call_layer(forward, layer, hidden_BTD, plan.whole)
    return _narrow(layers[-1], hidden_BTD, plan, call_layer)[0]


def _narrow(layer: Any, hidden_BTD: Tensor, plan: Plan, call_layer: LayerCall) -> Any:
    """Run the layer behind which only the anchors go on: (output (B, A, D), keys, values)."""
    if plan.alone is not None:
        rotary = plan.whole["position_embeddings"]
        return call_layer(run_anchors_alone, layer, hidden_BTD, plan.anchors_BA, rotary, plan.alone)
    hidden_BTD, *pair = call_layer(record_anchors, layer, hidden_BTD, plan.anchors_BA, plan.whole)
    return gather_tokens(hidden_BTD, plan.anchors_BA), *pair


def run_anchors_alone(
    layer: Any,
    hidden_BTD: Tensor,
    anchors_BA: Tensor,
    rotary: tuple[Tensor, Tensor],
    arguments: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the layer for the anchors, which see every token's keys and values.

    Gives its output at the anchors, (B, A, D), and their keys and values, (B, G, A, K) each.
    """
    shown = _EveryToken(*project_anchors(layer, hidden_BTD, list(rotary)))
    anchor_BAD = layer.forward(
        gather_tokens(hidden_BTD, anchors_BA), past_key_values=shown, use_cache=True, **arguments
    )
    return anchor_BAD, *shown.own


class _EveryToken:
    """Stands where a layer expects its cache: shows all tokens to the anchors it was called for."""

    def __init__(self, keys_BGTK: Tensor, values_BGTK: Tensor) -> None:
        self.keys_BGTK, self.values_BGTK = keys_BGTK, values_BGTK
        self.own: tuple[Tensor, Tensor]

    def update(
        self, keys_BGAK: Tensor, values_BGAK: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        # no view: FSDP hooks its backward on what is given
        self.own = keys_BGAK, values_BGAK.contiguous()
        return self.keys_BGTK, self.values_BGTK


def gather_tokens(values_BTD: Tensor, index_BA: Tensor) -> Tensor:
    """Take some tokens of each row, (B, T, D) to (B, A, D)."""
    return values_BTD.gather(1, index_BA[..., None].expand(-1, -1, values_BTD.shape[-1]))
