"""``sac-rag store`` on a real folder."""

from __future__ import annotations

import pytest

from sac_rag import open_store


@pytest.fixture
def where(notes, tmp_path, shared_engine):
    """A store that holds the documents of ``notes``."""
    folder = tmp_path / "store"
    with open_store(folder) as store:
        for name, text in (("Town", "Bellford was founded."), ("", "The Lune is long."), ("", "x")):
            cache = shared_engine.compress({"text": text})
            key = store.key_for(fingerprint=cache.fingerprint, text=text)
            store.put(key, cache, text=text, title=name or None)
    return folder


def flip_a_byte(where):
    """Damage the largest file of a store, which holds anchors."""
    path = max(
        (one for one in where.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size
    )
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_ls_shows_what_is_there(sac_rag, sac_rag_json, where):
    code, told = sac_rag_json("store", "ls", where)
    assert code == 0
    assert len(told["entries"]) == 3
    assert told["bytes"] == sum(entry["nbytes"] for entry in told["entries"])
    shown = sac_rag("store", "ls", where).stdout
    assert "Town" in shown
    assert "The Lune is long." in shown
    assert all(entry["key"][:12] in shown for entry in told["entries"])
    assert max(map(len, shown.splitlines())) <= 80
    assert "and 2 more" in sac_rag("store", "ls", where, "--limit", "1").stdout


def test_verify_finds_a_flipped_byte(sac_rag, sac_rag_json, where):
    code, told = sac_rag_json("store", "verify", where)
    assert (code, told["checked"], told["damaged"]) == (0, 6, [])
    flip_a_byte(where)
    code, told = sac_rag_json("store", "verify", where)
    assert code == 1
    assert [one["part"] for one in told["damaged"]] == ["anchors"]
    assert told["damaged"][0]["key"] in sac_rag("store", "verify", where).stdout


def test_rm_removes_by_the_beginning_of_a_key(sac_rag_json, where):
    _, told = sac_rag_json("store", "ls", where)
    first, *others = (entry["key"] for entry in told["entries"])
    code, refused = sac_rag_json("store", "rm", where, first[:8], "0123456789abcdef")
    assert (code, refused["error"]) == (1, "AnchorNotFoundError")
    code, refused = sac_rag_json("store", "rm", where, "all")
    assert (code, refused["error"]) == (2, "ConfigError")
    code, told = sac_rag_json("store", "rm", where, first[:8])
    assert (code, told["removed"]) == (0, [first])
    _, told = sac_rag_json("store", "ls", where)
    assert {entry["key"] for entry in told["entries"]} == set(others)


def test_gc_keeps_within_a_size(sac_rag_json, where):
    code, told = sac_rag_json("store", "gc", where, "--max-age", "1d", "--max-bytes", "1GB")
    assert (code, told["anchors"], told["texts"]) == (0, 0, 0)
    code, told = sac_rag_json("store", "gc", where, "--max-bytes", "0.5kB")
    assert (code, told["anchors"]) == (0, 3)
    assert open_store(where).stats.entries == 0


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_look_makes_no_store(sac_rag_json, tmp_path, make):
    path = tmp_path / "other"
    make(path)
    code, told = sac_rag_json("store", "ls", path)
    assert (code, told["error"]) == (2, "InputFileError")
    assert not path.exists() or not list(path.iterdir())


def test_a_store_of_another_version_is_refused(sac_rag_json, where):
    (where / "format.json").write_text('{"kind": "sac-rag store", "version": 99}')
    code, told = sac_rag_json("store", "ls", where)
    assert (code, told["error"]) == (2, "StoreFormatError")
    assert "99" in told["message"]
