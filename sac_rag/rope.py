"""Move already rotated keys to other positions (RoPE, arXiv:2104.09864).

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

STATIC_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""RoPE types whose frequencies do not change with the length of the text."""


def rotate_half(keys: Tensor) -> Tensor:
    """Turn the two halves of the last dimension by a right angle, (..., K) to (..., K)."""
    front, back = keys.chunk(2, dim=-1)
    return torch.cat((-back, front), dim=-1)


def relocate_keys(keys_LGAK: Tensor, *, shift_A: Tensor | int, inv_freq: Tensor) -> Tensor:
    """Rotate keys as if each anchor had been encoded ``shift`` positions later.

    RoPE turns a key by an angle linear in its position, so moving it is one more turn by
    ``shift * inv_freq``; values carry no position. A scale that the model puts on its keys
    (yarn) is already in them and stays.

    Args:
        keys_LGAK: Rotated keys as the attention layers cached them; the dimension before the
            last is that of the anchors, those before it are free.
        shift_A: Distance to move, in tokens, one for all or one per anchor; negative moves back.
        inv_freq: The model's own ``rotary_emb.inv_freq``, (K / 2,), in radians per token.
    """
    cos, sin = _angles(keys_LGAK, shift_A, inv_freq)
    return torch.cat(_turn(keys_LGAK, cos, sin), dim=-1).to(keys_LGAK.dtype)


def relocate_into(
    out_LGAK: Tensor, keys_LGAK: Tensor, *, shift_A: Tensor | int, inv_freq: Tensor
) -> None:
    """Write what ``relocate_keys`` gives to memory that is there already: to the same bits, where
    that has the keys' precision.

    Layer by layer: what is worked on stays near the processor. ``out`` may be the keys themselves.
    """
    cos, sin = _angles(keys_LGAK, shift_A, inv_freq)
    for out_GAK, keys_GAK in zip(out_LGAK, keys_LGAK, strict=True):
        halves = _turn(keys_GAK, cos, sin)
        for half, turned in zip(out_GAK.chunk(2, dim=-1), halves, strict=True):
            half.copy_(turned)


def _angles(keys: Tensor, shift_A: Tensor | int, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Give cosines and sines, (A or 1, K / 2), in float32."""
    # the angle in float64: at 50,000 tokens float32 has lost its third digit, bfloat16 all of them;
    # Apple's GPUs have none, so theirs is worked out on the CPU
    where = torch.device("cpu") if keys.device.type == "mps" else keys.device
    shift = torch.as_tensor(shift_A).to(where).double().reshape(-1, 1)
    angle = shift * inv_freq.to(where).double()
    return angle.cos().float().to(keys.device), angle.sin().float().to(keys.device)


def _turn(keys: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Give the two halves of turned keys, in float32."""
    front, back = keys.float().chunk(2, dim=-1)
    return (
        torch.addcmul(front * cos, back, sin, value=-1),
        torch.addcmul(back * cos, front, sin),
    )
