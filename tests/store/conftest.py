"""A small random anchor cache, and a store of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sac_rag.anchor_cache import AnchorCache
from sac_rag.store import AnchorStore, ByteStore, DirectoryByteStore, MemoryByteStore, open_store

FINGERPRINT = "ab" * 32


@pytest.fixture
def make_cache() -> Callable[..., AnchorCache]:
    def make(*, seed: int = 0, dtype: torch.dtype = torch.float32, num_anchors: int = 3):
        generator = torch.Generator().manual_seed(seed)
        shape = (2, 1, num_anchors, 4)
        return AnchorCache(
            keys=torch.randn(shape, generator=generator).to(dtype),
            values=torch.randn(shape, generator=generator).to(dtype),
            positions=3 + 5 * torch.arange(num_anchors),
            num_tokens=5 * num_anchors,
            fingerprint=FINGERPRINT,
        )

    return make


@pytest.fixture(params=["memory", "directory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> ByteStore:
    if request.param == "memory":
        return MemoryByteStore()
    return DirectoryByteStore(tmp_path / "store")


@pytest.fixture(params=["memory://", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnchorStore]:
    url = request.param if "://" in request.param else tmp_path / "store"
    with open_store(url) as opened:
        yield opened
