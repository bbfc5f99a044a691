"""Anchors come back bit for bit, from the right compressor, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import ConfigError, CorruptEntryError, IncompatibleCacheError
from sac_rag.store import AnchorStore, DirectoryByteStore, MemoryByteStore, StoredText, open_store

MakeCache = Callable[..., AnchorCache]
FIELDS = st.tuples(*[st.text(st.characters(), max_size=4)] * 4)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip_is_bitwise(
    store: AnchorStore, make_cache: MakeCache, dtype: torch.dtype
) -> None:
    cache = make_cache(dtype=dtype)
    cache.keys.view(torch.uint8)[0, 0, 0, :4] = 0xFF  # a NaN with a payload keeps its bits too
    key = store.key_for(fingerprint=cache.fingerprint, text="a text")
    store.put(key, cache, text="a text")
    found = store.get(key, fingerprint=cache.fingerprint)
    assert found is not None
    for name in ("keys", "values", "positions"):
        before, after = getattr(cache, name), getattr(found, name)
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        assert bits(after) == bits(before)
    assert (found.num_tokens, found.fingerprint) == (cache.num_tokens, cache.fingerprint)


def test_what_is_not_there_is_none(store: AnchorStore) -> None:
    key = store.key_for(fingerprint="f", text="never put")
    assert store.get(key) is None
    assert store.text_of(key) is None
    assert key not in store
    assert not store.delete(key)


@given(one=FIELDS, other=FIELDS)
def test_keys_are_equal_only_when_every_field_is(one: tuple, other: tuple) -> None:
    def key(fields: tuple) -> str:
        fingerprint, namespace, text, seen = fields
        store = AnchorStore(MemoryByteStore(), namespace=namespace)
        return store.key_for(fingerprint=fingerprint, text=text, seen=seen)

    assert (key(one) == key(other)) == (one == other)
    assert len(key(one)) == 32


def test_letters_that_wander_between_fields_change_the_key(store: AnchorStore) -> None:
    splits = [("ab", "c", ""), ("a", "bc", ""), ("", "abc", ""), ("", "ab", "c")]
    keys = {store.key_for(fingerprint=f, text=t, seen=s) for f, t, s in splits}
    assert len(keys) == len(splits)


def test_a_foreign_fingerprint_is_never_returned(store: AnchorStore, make_cache: MakeCache) -> None:
    store.put("0" * 32, make_cache())
    with pytest.raises(IncompatibleCacheError, match=r"compressor ab.*asked for those of cd"):
        store.get("0" * 32, fingerprint="cd" * 32)


def test_texts_are_kept_beside_and_outlive_anchors(
    store: AnchorStore, make_cache: MakeCache
) -> None:
    text = "Ordinary \ud800 ⟦sac:1: \0 text"
    store.put("0" * 32, make_cache(), text=text, title="Title")
    store.put("0" * 32, make_cache(seed=1))
    assert store.text_of("0" * 32) == StoredText(text=text, title="Title")
    [entry] = store.entries()
    store.gc(max_bytes=entry.text_bytes)
    assert store.get("0" * 32) is None
    assert store.text_of("0" * 32) == StoredText(text=text, title="Title")
    [entry] = store.entries()
    assert (entry.anchor_bytes, entry.num_anchors, entry.nbytes) == (0, None, entry.text_bytes)


def test_a_bounded_store_evicts_anchors_before_texts(tmp_path: Path, make_cache: MakeCache) -> None:
    for url in ("memory://", tmp_path):
        with open_store(url, max_bytes=12_000) as store:
            for number in range(20):
                store.put(f"{number:032}", make_cache(), text="short")
            assert 0 < len(store) < 20
            assert store.stats.texts == 20


def test_a_listing_tells_sizes_without_reading_anchors(
    store: AnchorStore, make_cache: MakeCache
) -> None:
    started = time.time() - 1
    for number in range(3):
        store.put(f"{number:032}", make_cache(num_anchors=number + 1), text="t" * number)
    entries = sorted(store.entries(), key=lambda entry: entry.key)
    assert [entry.num_anchors for entry in entries] == [1, 2, 3]
    assert [entry.num_tokens for entry in entries] == [5, 10, 15]
    assert {entry.fingerprint for entry in entries} == {"ab" * 32}
    assert sum(entry.nbytes for entry in entries) == store.stats.nbytes
    assert all(started < entry.last_used_s <= time.time() + 1 for entry in entries)
    assert sorted(store.keys()) == [entry.key for entry in entries]
    assert len(store) == 3


def test_delete_removes_anchors_and_text(store: AnchorStore, make_cache: MakeCache) -> None:
    store.put("0" * 32, make_cache(), text="gone")
    assert "0" * 32 in store
    assert store.delete("0" * 32)
    assert list(store.entries()) == []
    assert store.stats.nbytes == 0


def test_old_entries_go_whole_and_used_ones_stay_whole(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    store = open_store(tmp_path)
    for key in ("a" * 32, "b" * 32):
        store.put(key, make_cache(), text="kept")
    for file in tmp_path.glob("??/*"):
        os.utime(file, (0, time.time() - 1000))
    assert store.get("b" * 32)
    report = store.gc(max_age_s=500)
    assert (report.anchors, report.texts) == (1, 1)
    assert report.freed_bytes > 0
    assert list(store.keys()) == ["b" * 32]
    assert store.text_of("b" * 32) == StoredText(text="kept")


def test_damage_is_named_counted_and_healed(tmp_path: Path, make_cache: MakeCache) -> None:
    store = open_store(tmp_path)
    good, bad = "a" * 32, "b" * 32
    for key in (good, bad):
        store.put(key, make_cache(), text="kept")
    [file] = tmp_path.glob(f"??/*anchors%2F{bad}")
    file.write_bytes(file.read_bytes()[:-4] + b"oops")
    with pytest.raises(CorruptEntryError, match=f"anchors of {bad}: .*{file}"):
        store.get(bad)
    checks = {(check.key, check.part): check for check in store.verify()}
    assert len(checks) == 4
    assert [place for place, check in checks.items() if check.error] == [(bad, "anchors")]
    assert str(file) in (checks[bad, "anchors"].error or "")
    assert store.stats.corrupt == 1
    assert {entry.key for entry in store.entries()} == {good, bad}
    store.put(bad, make_cache())
    assert store.get(bad)
    assert not any(check.error for check in store.verify())


def test_a_damaged_header_does_not_stop_a_listing(tmp_path: Path, make_cache: MakeCache) -> None:
    store = open_store(tmp_path)
    store.put("a" * 32, make_cache())
    [file] = tmp_path.glob("??/*anchors*")
    file.write_bytes(b"\0" * 100)
    [entry] = store.entries()
    assert (entry.num_anchors, entry.anchor_bytes) == (None, 100)


def test_bytes_that_are_no_anchors_are_found(store: AnchorStore) -> None:
    store.backend.mset([("anchors/" + "a" * 32, b"x"), ("text/" + "a" * 32, b"x")])
    assert [bool(check.error) for check in store.verify()] == [True, True]
    with pytest.raises(CorruptEntryError, match="anchors of a"):
        store.get("a" * 32)
    with pytest.raises(CorruptEntryError):
        store.text_of("a" * 32)


def test_the_variable_wins_over_the_stored_secret(
    store: AnchorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = store.secret
    monkeypatch.setenv("SAC_RAG_HANDLE_KEY", "sixteen bytes ok")
    assert store.secret == b"sixteen bytes ok"
    monkeypatch.setenv("SAC_RAG_HANDLE_KEY", "too short")
    with pytest.raises(ConfigError, match="has 9 bytes"):
        _ = store.secret
    monkeypatch.setenv("SAC_RAG_HANDLE_KEY", "")
    assert store.secret == own


def test_nothing_secret_or_stored_shows(store: AnchorStore, make_cache: MakeCache) -> None:
    store.put("0" * 32, make_cache(), text="private")
    assert "private" not in repr(store)
    assert store.secret.hex() not in repr(store)
    assert repr(store.secret) not in repr(store)


def test_a_backend_alone_is_enough(tmp_path: Path, make_cache: MakeCache) -> None:
    with AnchorStore(DirectoryByteStore(tmp_path), namespace="tenant") as store:
        store.put("0" * 32, make_cache())
        assert store.stats.hits == store.stats.misses == 0
        store.get("0" * 32)
        store.get("1" * 32)
        assert (store.stats.hits, store.stats.misses) == (1, 1)


def test_listing_a_store_loads_no_torch(tmp_path: Path, make_cache: MakeCache) -> None:
    open_store(tmp_path).put("0" * 32, make_cache(), text="t")
    program = (
        "import sys; from sac_rag import open_store, sanitize; "
        f"assert len(list(open_store({str(tmp_path)!r}).entries())) == 1; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
