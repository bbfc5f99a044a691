"""The one value: it joins within one fingerprint and comes back from bytes bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sac_rag.anchor_cache import AnchorCache, cat, join
from sac_rag.errors import CorruptEntryError, IncompatibleCacheError, SACError, StoreFormatError

INV_FREQ = 10_000.0 ** -(torch.arange(4) / 4)


def cache_of(num_anchors: int, *, dtype=torch.float32, layers: int = 2) -> AnchorCache:
    generator = torch.Generator().manual_seed(num_anchors)
    shape = (layers, 2, num_anchors, 8)
    return AnchorCache(
        keys=torch.randn(shape, generator=generator).to(dtype),
        values=torch.randn(shape, generator=generator).to(dtype),
        positions=3 + 5 * torch.arange(num_anchors),
        num_tokens=5 * num_anchors,
        fingerprint="a" * 64,
    )


BLOB = cache_of(3).to_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_anchors", [1, 102])
def test_bytes_bring_back_every_bit(num_anchors, dtype):
    cache = cache_of(num_anchors, dtype=dtype)
    back = AnchorCache.from_bytes(cache.to_bytes())
    for name in ("keys", "values", "positions"):
        assert torch.equal(getattr(back, name), getattr(cache, name))
        assert getattr(back, name).dtype == getattr(cache, name).dtype
    assert (back.num_tokens, back.fingerprint) == (cache.num_tokens, cache.fingerprint)
    assert back.to_bytes() == cache.to_bytes()


@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_any_changed_byte_is_an_error(spot, change):
    spoilt = bytearray(BLOB)
    spoilt[spot] ^= change
    with pytest.raises(SACError):
        AnchorCache.from_bytes(bytes(spoilt))


@given(st.integers(0, len(BLOB) - 1))
def test_any_torn_file_is_an_error(length):
    with pytest.raises(CorruptEntryError):
        AnchorCache.from_bytes(BLOB[:length])


def test_another_format_version_is_named(monkeypatch):
    monkeypatch.setattr("sac_rag.anchor_cache.FORMAT_VERSION", 2)
    newer = cache_of(3).to_bytes()
    monkeypatch.undo()
    with pytest.raises(StoreFormatError, match=r"format version 2.*reads 1"):
        AnchorCache.from_bytes(newer)


def test_bytes_are_a_safetensors_file():
    from safetensors.torch import load

    assert set(load(BLOB)) == {"keys", "values", "positions"}


def test_joining_counts_tokens_and_moves_positions():
    first, second = cache_of(3), cache_of(5)
    joined = join([first, second], inv_freq=INV_FREQ)
    assert joined.num_tokens == 40
    assert joined.positions.tolist() == [
        *first.positions.tolist(),
        *(second.positions + 15).tolist(),
    ]
    assert torch.equal(joined.values[:, :, 3:], second.values)
    assert joined.nbytes == first.nbytes + second.nbytes


@given(st.lists(st.integers(1, 6), min_size=3, max_size=5))
def test_joining_in_one_go_equals_joining_in_two(counts):
    caches = [cache_of(count) for count in counts]
    at_once = join(caches, inv_freq=INV_FREQ)
    in_two = join([join(caches[:2], inv_freq=INV_FREQ), *caches[2:]], inv_freq=INV_FREQ)
    assert torch.equal(at_once.keys, in_two.keys)
    assert torch.equal(at_once.positions, in_two.positions)


def test_strangers_do_not_join():
    stranger = replace(cache_of(3), fingerprint="b" * 64)
    with pytest.raises(IncompatibleCacheError, match="come from 2 compressors"):
        join([cache_of(3), stranger], inv_freq=INV_FREQ)
    with pytest.raises(IncompatibleCacheError, match="differ in"):
        cat([cache_of(3), cache_of(3, layers=3)])
    with pytest.raises(IncompatibleCacheError, match="0 anchor caches"):
        join([], inv_freq=INV_FREQ)


def test_a_cache_shows_no_tensors():
    assert repr(cache_of(3)) == (
        "AnchorCache(3 anchors for 15 tokens, 768 bytes, fingerprint='aaaaaaaaaaaa')"
    )
