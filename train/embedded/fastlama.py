"""The decoder's forward pass for training on CPU: one context, many questions, bfloat16 matrix
products.

The weights are those of a transformers ``LlamaForCausalLM``; this is the same arithmetic laid out
for many questions per context. Every question sees the whole context and itself, and its
positions start right after the context, exactly as when it is asked alone. ``tests/embedded``
holds both roads to one result.

Shapes: B contexts, T context tokens, N questions, Q tokens of a question, H heads, G key/value
heads, K head dimension, D model dimension. One processor with AMX multiplies bfloat16 ten times
as fast as float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVE = -30_000.0
"""Stands for minus infinity in masks; a row that is masked everywhere must still have a softmax."""
LAYER_NAMES = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def layer_weights(weights: dict[str, Tensor], layer: int) -> list[Tensor]:
    """Collect one layer's weights in the order of ``LAYER_NAMES``."""
    return [weights[f"model.layers.{layer}.{name}.weight"] for name in LAYER_NAMES]


def angles(positions: Tensor, head_dim: int, theta: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Give cosines and sines (..., 1, K) in float32 for positions (...)."""
    inv_freq = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = (
        (positions[..., None].float() * inv_freq).repeat(*[1] * positions.dim(), 2).unsqueeze(-2)
    )
    return angle.cos(), angle.sin()


def norm(x: Tensor, weight: Tensor) -> Tensor:
    """Normalise as transformers' ``LlamaRMSNorm``."""
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)
    return weight.to(x.dtype) * y.to(x.dtype)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys (..., K) by RoPE, in float32."""
    front, back = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-back, front), -1) * sin).to(x.dtype)


def _mlp(x: Tensor, weights: list[Tensor]) -> Tensor:
    y = norm(x, weights[5])
    return x + F.linear(F.silu(F.linear(y, weights[6])) * F.linear(y, weights[7]), weights[8])


def _heads(x: Tensor, weights: list[Tensor], head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    y = norm(x, weights[0])
    shape = (*x.shape[:-1], -1, head_dim)
    return tuple(F.linear(y, w).view(shape) for w in weights[1:4])  # type: ignore[return-value]


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend from (B, T, H, K) to (B, S, G, K) under a mask that broadcasts to (B, 1, T, S)."""
    b, t, h, k = queries.shape
    g = keys.shape[2]
    rows = queries.view(b, t, g, h // g, k).permute(0, 2, 3, 1, 4).reshape(b, g, -1, k)
    scores = (rows @ keys.permute(0, 2, 3, 1)).view(b, h, t, -1) * k**-0.5
    weights = (scores.float() + mask).softmax(-1).to(values.dtype).view(b, g, h // g * t, -1)
    out = weights @ values.permute(0, 2, 1, 3)
    return out.view(b, g, h // g, t, k).permute(0, 3, 1, 2, 4).reshape(b, t, h * k)


def context_layer(
    x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, mask: Tensor, head_dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer over contexts (B, T, D); give hidden states, rotated keys, and values."""
    queries, keys, values = _heads(x, weights, head_dim)
    queries, keys = turn(queries, cos, sin), turn(keys, cos, sin)
    x = x + F.linear(_attend(queries, keys, values, mask), weights[4])
    return _mlp(x, weights), keys, values


def context_keys(
    x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, head_dim: int
) -> tuple[Tensor, Tensor]:
    """Give the last layer's keys and values; nothing reads its hidden states of a context."""
    _, keys, values = _heads(x, weights, head_dim)
    return turn(keys, cos, sin), values


def question_layer(
    x: Tensor,
    weights: list[Tensor],
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    causal: Tensor,
    head_dim: int,
) -> Tensor:
    """Run a layer over questions (B, N, Q, D) that see a context's keys and themselves.

    Args:
        x: Hidden states of the questions.
        weights: One layer's weights.
        cos: Cosines of the questions' positions, (B, N, Q, 1, K).
        sin: Sines of the same.
        keys: Rotated keys of the context or of its anchors, (B, S, G, K).
        values: Their values.
        mask: 0 where a context key may be seen, (B, S).
        causal: Mask within a question, (Q, Q).
        head_dim: K.
    """
    b, n, q, _ = x.shape
    own_q, own_k, own_v = _heads(x, weights, head_dim)
    own_q, own_k = turn(own_q, cos, sin), turn(own_k, cos, sin)
    h, g, k = own_q.shape[3], own_k.shape[3], head_dim
    rows = own_q.view(b, n, q, g, h // g, k).permute(0, 3, 1, 4, 2, 5)  # B G N R Q K
    far = rows.reshape(b, g, -1, k) @ keys.permute(0, 2, 3, 1)
    near = rows.reshape(b, g, n, -1, k) @ own_k.permute(0, 3, 1, 4, 2)
    far = far.view(b, g, n, h // g, q, -1).float() * k**-0.5 + mask[:, None, None, None, None, :]
    near = near.view(b, g, n, h // g, q, q).float() * k**-0.5 + causal
    probs = torch.cat((far, near), -1).softmax(-1).to(x.dtype)
    p_far, p_near = probs[..., : far.shape[-1]], probs[..., far.shape[-1] :]
    out = (p_far.reshape(b, g, -1, far.shape[-1]) @ values.permute(0, 2, 1, 3)).view(b, g, n, -1, k)
    out = out + p_near.reshape(b, g, n, -1, q) @ own_v.permute(0, 3, 1, 2, 4)
    out = out.view(b, g, n, h // g, q, k).permute(0, 2, 4, 1, 3, 5).reshape(b, n, q, h * k)
    return _mlp(x + F.linear(out, weights[4]), weights)


def causal_mask(size: int) -> Tensor:
    """Give a float32 mask (size, size) under which a token sees itself and what came before."""
    return torch.full((size, size), NEGATIVE).triu(1)


def context_layer_long(
    x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, mask: Tensor, head_dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer as ``context_layer``, causal whatever the mask, in memory linear in T."""
    del mask
    queries, keys, values = _heads(x, weights, head_dim)
    queries, keys = turn(queries, cos, sin), turn(keys, cos, sin)
    across = (queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2))
    out = F.scaled_dot_product_attention(*across, is_causal=True, enable_gqa=True)
    out = out.transpose(1, 2).reshape(*x.shape[:2], -1)
    x = x + F.linear(out, weights[4])
    return _mlp(x, weights), keys, values
