"""A store folder: its version, its neighbours, its limits."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sac_rag.errors import ConfigError, CorruptEntryError, StoreFormatError, StoreWriteError
from sac_rag.store import DirectoryByteStore


def listing(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_it_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = DirectoryByteStore(tmp_path / "new" / "store")
    first.mset([("k", b"value")])
    second = DirectoryByteStore(tmp_path / "new" / "store")
    assert second.mget(["k"]) == [b"value"]
    assert second.secret() == first.secret()


@pytest.mark.parametrize(
    "note",
    [
        b'{"kind": "sac-rag store", "version": 2}',
        b'{"kind": "other", "version": 1}',
        b"{",
        b"[]",
        b"\xff",
    ],
)
def test_another_version_is_refused_before_anything_is_touched(tmp_path: Path, note: bytes) -> None:
    DirectoryByteStore(tmp_path).mset([("k", b"value")])
    (tmp_path / "format.json").write_bytes(note)
    before = listing(tmp_path)
    with pytest.raises(StoreFormatError, match=r"format\.json .*give another folder"):
        DirectoryByteStore(tmp_path)
    assert listing(tmp_path) == before


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(StoreFormatError, match=r"holds 'notes\.md' .* not a sac-rag store"):
        DirectoryByteStore(tmp_path)
    assert list(listing(tmp_path)) == ["notes.md"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="that is a file; give a folder"):
        DirectoryByteStore(tmp_path / "file")
    with pytest.raises(StoreWriteError, match="cannot write"):
        DirectoryByteStore(tmp_path / "file" / "below")


def test_hidden_files_and_a_desktop_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("x")
    store = DirectoryByteStore(tmp_path)
    store.mset([("k", b"value")])
    (tmp_path / "notes.md").write_text("mine")
    entry = next(tmp_path.glob("??/*"))
    (entry.parent / "copy of entry").write_bytes(entry.read_bytes())
    assert list(DirectoryByteStore(tmp_path).yield_keys()) == ["k"]


def test_a_place_that_refuses_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    store.mset([("k", b"value")])
    shard = next(path for path in tmp_path.glob("??"))
    shard.rename(tmp_path / "aside")
    shard.write_text("a file where a folder belongs")
    with pytest.raises(StoreWriteError, match=f"cannot write {shard}.*permissions"):
        store.mset([("k", b"newer")])
    shard.unlink()
    (tmp_path / "aside").rename(shard)
    assert store.mget(["k"]) == [b"value"]
    assert not any((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_an_error_and_reading_goes_on(tmp_path: Path) -> None:
    DirectoryByteStore(tmp_path).mset([("k", b"value")])
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    try:
        store = DirectoryByteStore(tmp_path)
        assert store.mget(["k"]) == [b"value"]
        with pytest.raises(StoreWriteError, match=r"Permission denied.*permissions"):
            store.mset([("k", b"newer")])
        with pytest.raises(StoreWriteError):
            store.mdelete(["k"])
    finally:
        for folder in folders:
            folder.chmod(0o700)


FULL_DISK = """
import resource, sys
from sac_rag.errors import StoreWriteError
from sac_rag.store import DirectoryByteStore
store = DirectoryByteStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    store.mset([("k", bytes(100_000))])
except StoreWriteError as error:
    print(error.errno, error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    store.mset([("k", b"value")])
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number, _, message = said.partition(" ")
    assert int(number) > 0
    assert str(tmp_path) in message
    assert "What was stored before is untouched; free space" in message
    assert store.mget(["k"]) == [b"value"]
    assert not any((tmp_path / "tmp").iterdir())


def test_killed_writers_leftovers_are_ignored_and_swept(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    store.mset([("k", b"value")])
    old, young = (tmp_path / "tmp" / f".77-{digit * 32}" for digit in "ab")
    old.write_bytes(b"half an ent")
    young.write_bytes(b"a writer is busy here")
    os.utime(old, (0, time.time() - 3600))
    assert list(store.yield_keys()) == ["k"]
    assert store.sweep() == 1
    assert list((tmp_path / "tmp").iterdir()) == [young]


def test_the_secret_is_private_and_damage_to_it_is_named(tmp_path: Path) -> None:
    DirectoryByteStore(tmp_path).secret()
    file = tmp_path / "handle.key"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorruptEntryError, match=r"handle\.key should hold 64 hex digits"):
        DirectoryByteStore(tmp_path).secret()


def test_the_note_says_what_the_folder_is(tmp_path: Path) -> None:
    DirectoryByteStore(tmp_path)
    note = json.loads((tmp_path / "format.json").read_text())
    assert note == {"kind": "sac-rag store", "version": 1}
