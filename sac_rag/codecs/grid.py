"""Numbers on a grid of a few bits: steps, whole numbers, and two of them in a byte.

Every group of numbers has a step and an origin, both stored: ``x ~ step * (code + origin)``. The
origin is a whole number, so zero stays zero, and a number is off by at most half a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST = torch.finfo(torch.bfloat16).tiny
_CARRY = 0xFFFF


@dataclass(frozen=True, kw_only=True, eq=False)
class Gridded:
    """A tensor on a grid."""

    codes: Tensor
    """Whole numbers from 0, of the tensor's shape; uint8."""
    steps: Tensor
    """Of each group, bfloat16; the tensor's shape with groups in place of the grouped numbers."""
    origins: Tensor
    """Of each group, whole numbers."""

    def tensors(self, name: str, *, bits: int) -> dict[str, Tensor]:
        """Give what is stored, codes of 4 bits two to a byte."""
        codes = pack_nibbles(self.codes) if bits == 4 else self.codes
        return {name: codes, f"{name}_steps": self.steps, f"{name}_origins": self.origins}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], name: str, *, bits: int) -> Gridded:
        """Find again what ``tensors`` gave."""
        codes = tensors[name]
        return cls(
            codes=unpack_nibbles(codes) if bits == 4 else codes,
            steps=tensors[f"{name}_steps"],
            origins=tensors[f"{name}_origins"],
        )


def num_groups(length: int, group: int) -> int:
    """Count the groups of at most ``group`` numbers, as equal as can be, that ``length`` makes."""
    return -(-length // group)


def to_grid(
    numbers: Tensor, *, dim: int, group: int, bits: int, origin_dtype: torch.dtype
) -> Gridded:
    """Round numbers to a grid of ``2 ** bits`` points per group.

    Args:
        numbers: Finite, float32.
        dim: Along which numbers share a step.
        group: Most numbers that share one.
        bits: Up to 8.
        origin_dtype: Of the origins. Where a group lies so far from zero that its origin would
            not fit, its step is made larger.
    """
    count = num_groups(numbers.shape[dim], group)
    if numbers.numel() == 0:
        shape = list(numbers.shape)
        shape[dim] = count
        return Gridded(
            codes=numbers.to(torch.uint8),
            steps=torch.empty(shape, dtype=torch.bfloat16, device=numbers.device),
            origins=torch.empty(shape, dtype=origin_dtype, device=numbers.device),
        )
    parts = [
        _one_group(part, dim=dim, bits=bits, origin_dtype=origin_dtype)
        for part in numbers.tensor_split(count, dim)
    ]
    return Gridded(
        codes=torch.cat([codes for codes, _, _ in parts], dim),
        steps=torch.cat([steps for _, steps, _ in parts], dim),
        origins=torch.cat([origins for _, _, origins in parts], dim),
    )


def from_grid(grid: Gridded, *, dim: int) -> Tensor:
    """Give the numbers back, float32, in the shape of ``grid.codes``.

    Args:
        grid: From ``to_grid``.
        dim: The same.
    """
    count = grid.steps.shape[dim]
    if grid.codes.numel() == 0:
        return grid.codes.float()
    parts = zip(
        grid.codes.tensor_split(count, dim),
        grid.steps.split(1, dim),
        grid.origins.split(1, dim),
        strict=True,
    )
    return torch.cat(
        [(codes.float() + origin) * step.float() for codes, step, origin in parts], dim
    )


def pack_nibbles(codes: Tensor) -> Tensor:
    """Put numbers below 16 two to a byte, (..., K) to (..., K / 2); K is even."""
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """Undo ``pack_nibbles``: (..., K / 2) to (..., K)."""
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)


def _one_group(
    part: Tensor, *, dim: int, bits: int, origin_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    low, high = part.aminmax(dim=dim, keepdim=True)
    points = 2**bits - 1
    # divided before they are subtracted: the range of finite numbers may be infinite
    step = torch.maximum(high / points - low / points, low.abs() / torch.iinfo(origin_dtype).max)
    step = _up_to_bfloat16(step.clamp_min(_SMALLEST))
    # floor(x + 1/2), not round: half to even would let a group of 15 steps take 17 points
    origin = torch.floor(low / step + 0.5)
    codes = (torch.floor(part / step + 0.5) - origin).clamp(0, points)
    return codes.to(torch.uint8), step.to(torch.bfloat16), origin.to(origin_dtype)


def _up_to_bfloat16(numbers: Tensor) -> Tensor:
    """Give the next larger number that bfloat16 has: rounded down, a grid would not reach."""
    return ((numbers.view(torch.int32) + _CARRY) & ~_CARRY).view(torch.float32)
