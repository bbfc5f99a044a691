"""A store of several codecs: who is served what, and that the first answer is no better."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs import PCACodec, fit_pca
from sac_rag.errors import ConfigError, CorruptEntryError, IncompatibleCacheError, StoreFormatError
from sac_rag.store import AnchorStore, ByteStore, open_store
from sac_rag.store.entry_file import pack
from tests.codecs.conftest import ALL, FINGERPRINT, LOSSY, anchors, frequencies

KEY = "0" * 32
INV_FREQ = frequencies(8)


@pytest.fixture(scope="module")
def basis_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    basis = fit_pca([anchors(200, seed=9)], inv_freq=INV_FREQ, bits=3)
    return basis.save(tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def named(basis_file: Path) -> Callable[[str], str]:
    return lambda name: f"pca:{basis_file}" if name == "pca" else name


def same(one: AnchorCache, other: AnchorCache) -> bool:
    return torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)


@pytest.mark.parametrize("name", ALL)
def test_what_put_returns_is_what_get_returns(backend: ByteStore, named, name: str) -> None:
    store = AnchorStore(backend, codec=named(name))
    cache = anchors(20)
    kept = store.put(KEY, cache, text="t", inv_freq=INV_FREQ)
    found = store.get(KEY, fingerprint=FINGERPRINT)
    assert found is not None
    assert same(kept, found)
    assert same(kept, cache) == (name == "exact")
    assert KEY in store
    assert store.stats.lossy == int(name != "exact")
    [entry] = store.entries()
    assert (entry.codec, entry.num_anchors, entry.num_tokens) == (name, 20, 100)
    assert entry == store.entry(KEY)
    assert not any(check.error for check in store.verify())


@pytest.mark.parametrize("writer", ALL)
@pytest.mark.parametrize("reader", ALL)
def test_nobody_is_served_coarser_anchors_than_asked_for(
    backend: ByteStore, named, writer: str, reader: str
) -> None:
    bits = {"exact": 99, "bf16": 16, "fp16": 16, "int8": 8, "int4": 4, "pca": 3}
    put = AnchorStore(backend, codec=named(writer)).put(KEY, anchors(), inv_freq=INV_FREQ)
    store = AnchorStore(backend, codec=named(reader))
    found = store.get(KEY)
    if bits[writer] >= bits[reader]:
        assert found is not None
        assert same(found, put)
        assert KEY in store
        assert (store.stats.hits, store.stats.coarse) == (1, 0)
        return
    assert found is None
    assert KEY not in store
    assert (store.stats.misses, store.stats.coarse) == (1, 1)
    # encoded anew, it is written over the coarser one, and serves the first writer as well
    again = store.put(KEY, anchors(), inv_freq=INV_FREQ)
    for one in (reader, writer):
        served = AnchorStore(backend, codec=named(one)).get(KEY)
        assert served is not None
        assert same(served, again)


def test_all_are_served_to_whoever_says_so(backend: ByteStore, named) -> None:
    for number, name in enumerate(ALL):
        key = f"{number:032}"
        AnchorStore(backend, codec=named(name)).put(key, anchors(seed=number), inv_freq=INV_FREQ)
    store = AnchorStore(backend, min_bits=0)
    assert all(store.get(key) is not None for key in list(store.keys()))
    assert sorted(str(entry.codec) for entry in store.entries()) == sorted(ALL)
    assert store.stats.lossy == len(LOSSY)
    middling = AnchorStore(backend, min_bits=5)
    assert sum(key in middling for key in list(store.keys())) == 4


def test_the_codec_does_not_change_the_key(named) -> None:
    keys = {
        open_store("memory://", codec=named(name)).key_for(fingerprint="f", text="t")
        for name in ALL
    }
    assert len(keys) == 1


def test_entries_of_older_versions_are_read(tmp_path: Path) -> None:
    """The bytes of version 1: a safetensors file of three tensors, its note without a codec."""
    store = open_store(tmp_path)
    cache = anchors()
    store.put(KEY, cache)
    [file] = tmp_path.glob("??/*anchors*")
    written = b"".join(pack("anchors/" + KEY, cache.to_bytes()))
    assert file.read_bytes() == written
    assert b"codec" not in written
    for codec in ("exact", "int4"):
        assert same(cache, open_store(tmp_path, codec=codec).get(KEY) or anchors(seed=5))


@pytest.mark.parametrize("name", ["int8", "int4", "pca"])
def test_bounds_and_counts_are_of_the_bytes_held(named, name: str) -> None:
    whole, small = open_store("memory://"), open_store("memory://", codec=named(name))
    for store in (whole, small):
        store.put(KEY, anchors(400, dtype=torch.bfloat16), inv_freq=INV_FREQ)
    [entry] = small.entries()
    assert small.stats.nbytes == entry.nbytes
    assert small.stats.nbytes < whole.stats.nbytes * (0.8 if name == "int8" else 0.5)
    bound = open_store("memory://", codec=named(name), max_bytes=3 * entry.nbytes)
    for number in range(5):
        bound.put(f"{number:032}", anchors(400, dtype=torch.bfloat16), inv_freq=INV_FREQ)
    assert len(bound) == 3


@pytest.mark.parametrize("name", LOSSY)
def test_damage_on_disk_is_named_and_healed(tmp_path: Path, named, name: str) -> None:
    store = open_store(tmp_path, codec=named(name))
    store.put(KEY, anchors(), inv_freq=INV_FREQ)
    [file] = tmp_path.glob("??/*anchors*")
    good = file.read_bytes()
    for bad in (good[:-1], good[:100], bytes([*good[:-1], good[-1] ^ 1])):
        file.write_bytes(bad)
        with pytest.raises(CorruptEntryError, match=f"anchors of {KEY}: .*{file}"):
            store.get(KEY)
    store.put(KEY, anchors(), inv_freq=INV_FREQ)
    assert store.get(KEY) is not None


@pytest.mark.parametrize("name", LOSSY)
def test_a_foreign_fingerprint_is_never_returned(backend: ByteStore, named, name: str) -> None:
    store = AnchorStore(backend, codec=named(name))
    store.put(KEY, anchors(), inv_freq=INV_FREQ)
    with pytest.raises(IncompatibleCacheError, match=r"compressor ab.*asked for those of cd"):
        store.get(KEY, fingerprint="cd" * 32)


def test_an_entry_of_a_later_codec_is_told(backend: ByteStore) -> None:
    from sac_rag.codecs import get_codec

    encoded = replace(get_codec("int8").encode(anchors(), inv_freq=INV_FREQ), codec="int8v2")
    backend.mset([("anchors/" + KEY, encoded.to_bytes())])
    store = AnchorStore(backend, codec="int8")
    with pytest.raises(StoreFormatError, match="codec 'int8v2', this sac-rag has"):
        store.get(KEY)
    [check] = store.verify()
    assert "int8v2" in (check.error or "")


def test_a_basis_lies_in_the_store_and_any_reader_finds_it(tmp_path: Path, basis_file) -> None:
    kept = open_store(tmp_path, codec=f"pca:{basis_file}").put(KEY, anchors())
    reader = open_store(tmp_path, min_bits=0, max_bytes=100_000)
    found = reader.get(KEY)
    assert found is not None
    assert same(found, kept)
    reader.gc(max_bytes=1)
    [file] = (tmp_path / "codecs").iterdir()
    assert file.read_bytes() == basis_file.read_bytes()
    assert len(reader) == 0  # the basis is no entry: not listed, not evicted


@pytest.mark.parametrize("harm", ["lost", "damaged", "another"])
def test_a_basis_that_is_not_whole_is_told_and_entries_heal(
    tmp_path: Path, basis_file, harm: str
) -> None:
    open_store(tmp_path, codec=f"pca:{basis_file}").put(KEY, anchors())
    [file] = (tmp_path / "codecs").iterdir()
    if harm == "lost":
        file.unlink()
    elif harm == "damaged":
        file.write_bytes(file.read_bytes()[:-3])
    else:
        file.write_bytes(fit_pca([anchors(50)], inv_freq=INV_FREQ).to_bytes())
    reader = open_store(tmp_path, min_bits=0)
    with pytest.raises(CorruptEntryError, match=rf"anchors of {KEY}: .*basis"):
        reader.get(KEY)
    [check] = reader.verify()
    assert check.error is not None
    assert "basis" in check.error
    # whoever has the basis still reads them; writing them anew heals the store for all
    assert open_store(tmp_path, codec=f"pca:{basis_file}").get(KEY) is not None
    reader.put(KEY, anchors())
    assert open_store(tmp_path).get(KEY) is not None


def test_codecs_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for codec in ("int3", "pca", f"pca:{tmp_path / 'nothing'}"):
        with pytest.raises(ConfigError):
            open_store(tmp_path / "store", codec=codec)
    with pytest.raises(ConfigError, match=r"at least -1"):
        open_store("memory://", min_bits=-1)
    with pytest.raises(ConfigError, match="inv_freq"):
        open_store("memory://", codec="int4").put(KEY, anchors())
    store = open_store("memory://", codec="int4")
    with pytest.raises(ConfigError, match="is open already"):
        open_store(store, codec="int8")
    assert open_store(store) is store
    assert store.codec == "int4"


def test_a_codec_object_serves_as_well_as_its_name(basis_file) -> None:
    from sac_rag.codecs import PCABasis

    codec = PCACodec(PCABasis.load(basis_file))
    one = open_store("memory://", codec=codec).put(KEY, anchors())
    other = open_store("memory://", codec=f"pca:{basis_file}").put(KEY, anchors())
    assert same(one, other)


def test_opening_and_listing_with_a_codec_loads_no_torch(tmp_path: Path) -> None:
    open_store(tmp_path, codec="int4").put(KEY, anchors(), inv_freq=INV_FREQ)
    program = (
        "import sys; from sac_rag import open_store; "
        f"[entry] = open_store({str(tmp_path)!r}, codec='int4').entries(); "
        "assert entry.codec == 'int4'; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_kept_pieces_live_as_long_as_their_place(backend: ByteStore) -> None:
    assert backend.kept("ab12") is None
    backend.keep("ab12", b"basis")
    backend.keep("ab12", b"basis")
    assert backend.kept("ab12") == b"basis"
    assert list(backend.yield_keys()) == []
    assert backend.nbytes == 0
