"""An entry file that differs in anything from what was written is never served."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

import pytest

from sac_rag.errors import CorruptEntryError, StoreFormatError
from sac_rag.store import DirectoryByteStore
from sac_rag.store import entry_file as entry_file_module
from sac_rag.store.entry_file import pack, read_header, unpack

KEY = "anchors/0123"
VALUE = random.Random(0).randbytes(300)


@pytest.fixture
def blob() -> bytes:
    return b"".join(pack(KEY, VALUE))


def test_what_was_packed_is_unpacked(blob: bytes) -> None:
    assert unpack(blob, key=KEY, name="file") == VALUE
    for value in (b"", b"\0" * 64):
        assert unpack(b"".join(pack("", value)), key="", name="file") == value


def test_the_payload_can_be_mapped(blob: bytes) -> None:
    header = read_header(blob, name="file")
    assert header.start % 64 == 0
    assert blob[header.start :] == VALUE


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_every_flipped_byte_is_found(blob: bytes, flip: int) -> None:
    for spot in range(len(blob)):
        damaged = bytearray(blob)
        damaged[spot] ^= flip
        with pytest.raises(CorruptEntryError, match=r"store entry file is damaged"):
            unpack(bytes(damaged), key=KEY, name="file")


def test_every_torn_and_every_grown_file_is_found(blob: bytes) -> None:
    for length in range(len(blob)):
        with pytest.raises(CorruptEntryError):
            unpack(blob[:length], key=KEY, name="file")
    for tail in (b"\0", b"\0" * 64, blob):
        with pytest.raises(CorruptEntryError):
            unpack(blob + tail, key=KEY, name="file")


def test_another_version_is_named(blob: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_file_module, "FORMAT_VERSION", 3)
    monkeypatch.setitem(entry_file_module._HASHES, 3, ("xxh3", sha256))
    newer = b"".join(pack(KEY, VALUE))
    monkeypatch.undo()
    with pytest.raises(StoreFormatError, match="format version 3, this sac-rag reads 1 and 2"):
        unpack(newer, key=KEY, name="file")


def entry_of(store: DirectoryByteStore, key: str) -> Path:
    [path] = [path for path in store.path.glob("??/*") if path.name.endswith("-" + key)]
    return path


def test_the_error_names_the_file_and_a_new_write_heals_it(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    store.mset([("k", VALUE), ("other", b"fine")])
    path = entry_of(store, "k")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptEntryError) as caught:
        store.mget(["k"])
    assert str(path) in str(caught.value)
    assert "delete the file" in str(caught.value)
    assert store.mget(["other"]) == [b"fine"]
    store.mset([("k", VALUE)])
    assert store.mget(["k"]) == [VALUE]


def test_an_entry_under_another_name_is_found(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    store.mset([("mine", b"one"), ("yours", b"two")])
    entry_of(store, "mine").replace(entry_of(store, "yours"))
    with pytest.raises(CorruptEntryError, match="holds the entry 'mine' where 'yours' belongs"):
        store.mget(["yours"])
    assert store.mget(["mine"]) == [None]
