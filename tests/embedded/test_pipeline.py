"""The whole road, from nothing to an engine that answers, at toy size."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import bytes_table
import evaluate
import torch
import train_base
import train_both
import train_sac
from safetensors.torch import load_file

import sac_rag
from sac_rag.engine import SACEngine


def _args(**values: object) -> argparse.Namespace:
    return argparse.Namespace(
        **({"minutes": 9.0, "lr": 2e-3, "seed": 1, "tiny": True, "start": None} | values)
    )


def test_trained_stopped_resumed_and_asked(tmp_path: Path):
    base = tmp_path / "nano"
    for steps in (1, 2):  # the second call goes on from the first one's checkpoint
        train_base.main(_args(out=base, work=tmp_path / "base", steps=steps))
    taught = tmp_path / "taught"
    for steps in (1, 2):
        train_both.main(_args(base=base, out=taught, work=tmp_path / "both", steps=steps, ratio=5))
    moved = [load_file(folder / "model.safetensors") for folder in (base, taught)]
    assert moved[0].keys() == moved[1].keys()
    assert not all(torch.equal(moved[0][name], moved[1][name]) for name in moved[0])
    base = taught
    for steps in (1, 2):
        train_sac.main(_args(base=base, work=tmp_path / "sac", steps=steps, ratio=5))
    settings = {"adapter": None, "tasks": ["one"], "questions": 4, "wrong": False}
    evaluate.main(argparse.Namespace(base=base, out=tmp_path / "scores.json", **settings))
    scores = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert [score["road"] for score in scores] == ["full", "anchors", "none"]
    with SACEngine.from_pretrained(base, adapter=base / "sac-5x") as engine:
        assert engine.ratio == 5
        assert engine.answer("Who founded Barwick?", ["Barwick is old."], 4).usage.anchors > 0


def test_the_table_of_codecs_is_measured(tmp_path: Path):
    base = Path(sac_rag.__file__).parent / "embedded" / "nano"
    sizes = {"documents": 1, "fitted_on": 4, "bits": [2.0]}
    bytes_table.main(argparse.Namespace(base=base, out=tmp_path / "bytes.json", **sizes))
    points = json.loads((tmp_path / "bytes.json").read_text("utf-8"))
    assert [point["codec"] for point in points] == ["exact", "int8", "int4", "pca 2"]
    sizes = [point["bytes_per_token"] for point in points]
    assert sizes == sorted(sizes, reverse=True)
    assert all(point["asked"] == 4 for point in points)
