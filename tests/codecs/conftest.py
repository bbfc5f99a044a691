"""Anchor caches of any shape, and one codec of each kind that can write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs import Codec, PCACodec, fit_pca, get_codec
from sac_rag.rope import relocate_keys

FINGERPRINT = "ab" * 32
GRID = ["int8", "int4"]
LOSSY = ["bf16", "fp16", *GRID, "pca"]
ALL = ["exact", *LOSSY]


def frequencies(head_dim: int) -> torch.Tensor:
    """RoPE's usual ones, (K / 2,)."""
    return 10_000.0 ** -(torch.arange(head_dim // 2) / (head_dim // 2))


def anchors(
    num_anchors: int = 7,
    *,
    layers: int = 2,
    heads: int = 2,
    head_dim: int = 8,
    seed: int = 0,
    scale: float = 1.0,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
) -> AnchorCache:
    """Random anchors whose channels differ in place and width, as real ones do."""
    generator = torch.Generator().manual_seed(seed)
    shape = (layers, heads, num_anchors, head_dim)
    widths = torch.randn(layers, heads, 1, head_dim, generator=generator).exp()
    centres = 4 * torch.randn(layers, heads, 1, head_dim, generator=generator)
    still = scale * (torch.randn(shape, generator=generator) * widths + centres)
    positions = start + 3 + 5 * torch.arange(num_anchors)
    keys = relocate_keys(still, shift_A=positions, inv_freq=frequencies(head_dim))
    return AnchorCache(
        keys=keys.to(dtype),
        values=(scale * torch.randn(shape, generator=generator)).to(dtype),
        positions=positions,
        num_tokens=5 * num_anchors,
        fingerprint=FINGERPRINT,
    )


@pytest.fixture(scope="session")
def codec_of() -> Callable[..., Codec]:
    """Give a codec by name for anchors of a shape; PCA is fitted on 200 others."""

    def make(name: str, *, bits: float = 3.0, **shape: int) -> Codec:
        if name != "pca":
            return get_codec(name)
        sample = anchors(200, seed=99, **shape)
        inv_freq = frequencies(sample.keys.shape[3])
        return PCACodec(fit_pca([sample], inv_freq=inv_freq, bits=bits))

    return make


def still(cache: AnchorCache) -> torch.Tensor:
    """Keys at position 0, float64: an own road, not the codec's."""
    keys = cache.keys.double()
    angle = -cache.positions.double()[:, None] * frequencies(keys.shape[3]).double()
    cos, sin = angle.cos(), angle.sin()
    front, back = keys.chunk(2, dim=3)
    return torch.cat((front * cos - back * sin, back * cos + front * sin), dim=3)
