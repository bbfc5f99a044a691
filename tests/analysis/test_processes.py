"""Several processes measure while they train together, and the first alone writes and draws."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.train.processes import parting

TINY = str(Path(__file__).parents[2] / "train" / "recipes" / "tiny.yaml")


def test_the_first_of_two_processes_draws_the_gradients(tiny_folders, tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the extra 'train' is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    words = ["--config", TINY, "--stage", "pretrain", "--every", "1", "--samples", "1"]
    words += [f"model={tiny_folders[0]}", f"pretrain.out={tmp_path / 'run'}", "steps=2"]
    words += ["batch=2", "micro_batch=1", "data.limit=8", "data.held_out=0"]
    words += ["--out", str(tmp_path / "out")]
    told = parting([sys.executable, "-m", "sac_rag.analysis", "gradients", *words])
    assert [line for line in told.splitlines() if line.endswith(".png")] == [
        f"{tmp_path / 'out' / 'gradients'}.npz, .json and .png"
    ]
    ends = json.loads((tmp_path / "out" / "gradients.json").read_text())["run"]
    assert {name: one["step"] for name, one in ends.items()} == {"first": 0, "last": 2}
    assert (tmp_path / "out" / "gradients.png").read_bytes().startswith(b"\x89PNG")
