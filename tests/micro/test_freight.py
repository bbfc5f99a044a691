"""What is carried arrives unchanged, within its limit, and nowhere else."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import freight
import pytest


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/one.safetensors").write_bytes(b"weights" * 5000)
    Path("a/two.json").write_text("{}")
    return tmp_path


def test_there(here):
    packed = freight.load([Path("a")], Path("w"), limit=10**6)
    assert packed["a/one.safetensors"] < 35_000
    before = Path("a/one.safetensors").read_bytes()
    Path("a/one.safetensors").unlink()
    assert freight.unload(Path("w")) == [Path("a/one.safetensors")]
    assert Path("a/one.safetensors").read_bytes() == before


def test_a_newer_freight_replaces_what_an_older_one_left(here):
    """A model's files have the same size after every training."""
    path = Path("a/one.safetensors")
    os.utime(path, (1000, 1000))
    freight.load([path], Path("w"), limit=10**6)
    path.unlink()
    freight.unload(Path("w"))
    assert freight.unload(Path("w")) == []
    there = path.read_bytes()
    path.write_bytes(there.replace(b"weights", b"WEIGHTS"))
    os.utime(path, (2000, 2000))
    freight.load([path], Path("w"), limit=10**6)
    path.write_bytes(there)
    os.utime(path, (1000, 1000))
    assert freight.unload(Path("w")) == [path]
    assert path.read_bytes().startswith(b"WEIGHTS")
    path.write_bytes(b"trained here since")
    assert freight.unload(Path("w")) == []


def test_what_does_not_fit_is_named(here, capsys):
    Path("b.bin").write_bytes(bytes(100_000))
    freight.load([Path("a"), Path("b.bin")], Path("w"), limit=20_000)
    assert "left out: b.bin (100,000 bytes)" in capsys.readouterr().out
    assert Path("w/freight.tar").stat().st_size <= 20_480  # tar fills its last block
    with pytest.raises(SystemExit, match="nothing fits"):
        freight.load([Path("b.bin")], Path("w"), limit=2000)


def test_back_in_parts(here, monkeypatch):
    monkeypatch.setattr(freight, "PART", 10_000)
    assert freight.home([Path("a")], Path("out")) == []
    assert len(list(Path("out").glob("part-*"))) > 3
    found = freight.receive(Path("out"), Path("back"))
    assert {str(path) for path in found} == {"back/a/one.safetensors", "back/a/two.json"}
    assert Path("back/a/one.safetensors").read_bytes() == Path("a/one.safetensors").read_bytes()
    Path("out/part-01").write_bytes(b"of another moment")
    with pytest.raises(SystemExit, match="part-01 is missing or of another moment"):
        freight.receive(Path("out"), Path("back"))


def test_nothing_is_laid_outside(here):
    Path("w").mkdir()
    with tarfile.open("w/freight.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO(b""))
    with pytest.raises(SystemExit, match="no plain file below"):
        freight.unload(Path("w"))
    with pytest.raises(SystemExit, match="outside the working folder"):
        freight.load([Path("a").absolute()], Path("w"), limit=10**6)
