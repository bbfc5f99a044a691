"""What is shown where it lies is what would be read, is checked as hard, and outlives its entry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sac_rag import sealed
from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import CorruptEntryError
from sac_rag.store import AnchorStore, ByteStore, DirectoryByteStore, open_store
from sac_rag.store import entry_file as entry_file_module
from sac_rag.store.base import Viewable

NAMES = ("keys", "values", "positions")


class BytesOnly:
    """A place that cannot show anything, as others may write one."""

    def __init__(self, backend: ByteStore) -> None:
        self._backend = backend

    def __getattr__(self, name: str):
        if name in ("view", "checks_views"):
            raise AttributeError(name)
        return getattr(self._backend, name)


def test_a_view_is_what_is_read(backend: ByteStore) -> None:
    assert isinstance(backend, Viewable)
    for value in (b"", b"x", bytes(range(256)) * 40):
        backend.mset([("k", value)])
        shown = backend.view("k")
        assert shown is not None
        assert bytes(shown) == value == backend.mget(["k"])[0]
    assert backend.view("other") is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_mapped_anchors_equal_read_ones(backend: ByteStore, make_cache, dtype) -> None:
    store, plain = AnchorStore(backend), AnchorStore(BytesOnly(backend))  # type: ignore[arg-type]
    cache = make_cache(dtype=dtype, num_anchors=7)
    store.put("k", cache)
    mapped, read = store.get("k"), plain.get("k")
    assert mapped is not None
    assert read is not None
    for name in NAMES:
        assert torch.equal(getattr(mapped, name), getattr(cache, name))
        assert torch.equal(getattr(read, name), getattr(cache, name))
        assert getattr(mapped, name).dtype == getattr(cache, name).dtype


def test_mapped_anchors_outlive_their_entry(store: AnchorStore, make_cache) -> None:
    first, second = make_cache(seed=1), make_cache(seed=2)
    store.put("k", first)
    held = store.get("k")
    store.put("k", second)
    replaced = store.get("k")
    store.delete("k")
    assert held is not None
    assert replaced is not None
    assert torch.equal(held.keys, first.keys)
    assert torch.equal(replaced.keys, second.keys)


@pytest.mark.filterwarnings("error")
def test_reading_in_place_warns_of_nothing(store: AnchorStore, make_cache) -> None:
    store.put("k", make_cache())
    assert store.get("k") is not None


def test_every_flipped_byte_of_a_mapped_file_is_found(tmp_path: Path, make_cache) -> None:
    store = open_store(tmp_path)
    store.put("k", make_cache())
    [path] = tmp_path.glob("??/*")
    whole = path.read_bytes()
    for spot in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[spot] ^= 0x10
        path.unlink()
        path.write_bytes(damaged)
        with pytest.raises(CorruptEntryError):
            store.get("k")
    for length in (0, 20, len(whole) - 1):
        path.unlink()
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptEntryError):
            store.get("k")


def test_a_change_of_what_memory_holds_is_found(make_cache) -> None:
    """Whoever writes on what he was shown gets no second look at it."""
    with open_store(None) as store:
        store.put("k", make_cache())
        found = store.get("k")
        assert found is not None
        found.values[0, 0, 0, 0] += 1
        with pytest.raises(CorruptEntryError):
            store.get("k")


def test_entries_of_the_first_version_are_read(tmp_path, make_cache, monkeypatch) -> None:
    cache = make_cache()
    monkeypatch.setattr(sealed, "_MARK", b"sha256:")
    monkeypatch.setattr(entry_file_module, "FORMAT_VERSION", 1)
    with open_store(tmp_path) as older:
        older.put("k", cache)
    blob = cache.to_bytes()
    monkeypatch.undo()
    [path] = tmp_path.glob("??/*")
    assert path.read_bytes().count(b"sha256") == 2
    with open_store(tmp_path) as store:
        for back in (store.get("k"), AnchorCache.from_bytes(blob)):
            assert back is not None
            assert torch.equal(back.keys, cache.keys)
    damaged = bytearray(blob)
    damaged[-1] ^= 1
    with pytest.raises(CorruptEntryError):
        AnchorCache.from_bytes(damaged)
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.unlink()
    path.write_bytes(spoilt)
    with pytest.raises(CorruptEntryError):
        DirectoryByteStore(tmp_path).view("anchors/k")
