"""The whole road of micro at toy size: data to tokenizer, tokens, both trainings, scores."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import bpe
import freight
import perplexity
import pytest
import readings
import score
import torch
import train_language
import train_reading
from corpus import held_out_texts, training_texts
from safetensors.torch import load_file
from token_file import open_tokens, squeeze, unpacked, write_tokens
from transformers import AutoTokenizer

COMMON = {
    "minutes": 5.0,
    "whole_minutes": 5.0,
    "rows": 3,
    "accumulate": 2,
    "width": 192,
    "optimizer": "adamw",
    "lr": 3e-3,
    "seed": 1,
    "workers": 0,
    "compile": False,
}
READING = {
    "attention": "auto",
    "qa_share": 0.5,
    "text_share": 0.25,
    "text_weight": 0.3,
}


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory) -> Path:
    """Tokenizer, token files and readings, by the scripts' own functions."""
    home = tmp_path_factory.mktemp("micro")
    bpe.save(bpe.train(bpe.training_material(data), vocabulary=600), home / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(home / "tokenizer")
    texts = training_texts(data, "enwiki_train")
    write_tokens(home / "tokens" / "enwiki_train.npy", texts, tokenizer)
    write_tokens(home / "tokens" / "held_out.npy", held_out_texts(data), tokenizer)
    packed = home / "tokens" / "enwiki_train.npy.xz"
    squeeze(home / "tokens" / "enwiki_train.npy", packed)
    settings = {"tokens": [packed], "texts": [], "limit": 60, "processes": 1}
    folders = {"data": data, "tokenizer": home / "tokenizer", "out": home / "readings"}
    readings.main(argparse.Namespace(**folders, **settings))
    return home


def _args(folder: Path, name: str, steps: int, **more: object) -> argparse.Namespace:
    places = {
        "tokens": [folder / "tokens" / "enwiki_train.npy"],
        "tokenizer": folder / "tokenizer",
        "work": folder / name / "work",
        "out": folder / name / "model",
    }
    settings = COMMON | places | {"steps": steps, "started": time.time()}
    settings |= {"home": None, "resume": None}
    return argparse.Namespace(**(settings | more))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    (found,) = folder.glob("checkpoint-*")
    return load_file(found / "weights.safetensors")


def test_text_travels_and_comes_back(prepared, data, tmp_path):
    plain = prepared / "tokens" / "held_out.npy"
    assert squeeze(plain, tmp_path / "held_out.npy.xz") < plain.stat().st_size
    again = unpacked(tmp_path / "held_out.npy.xz")
    assert (open_tokens(again) == open_tokens(plain)).all()
    tokenizer = AutoTokenizer.from_pretrained(prepared / "tokenizer")
    assert list(readings.decoded(plain, tokenizer)) == list(held_out_texts(data))


def test_a_broken_run_ends_as_an_unbroken_one(prepared):
    for name, optimizer in (("whole", "adamw"), ("whole-muon", "muon")):
        args = _args(prepared, name, 6, size="toy", optimizer=optimizer)
        assert train_language.main(args)
        cut = f"cut-{optimizer}"
        stopped = _args(prepared, cut, 6, size="toy", optimizer=optimizer, minutes=0.0)
        for _ in range(5):  # no minutes: one step a call
            assert not train_language.main(stopped)
        args = _args(prepared, cut, 6, size="toy", optimizer=optimizer)
        assert train_language.main(args)
        whole = _weights(prepared / name / "work")
        for key, value in _weights(prepared / cut / "work").items():
            assert torch.equal(value, whole[key]), key


def test_a_folder_of_another_run_is_refused(prepared):
    train_language.main(_args(prepared, "taken", 1, size="toy"))
    with pytest.raises(SystemExit, match="holds another run"):
        train_language.main(_args(prepared, "taken", 1, size="toy", lr=1e-3))


def test_weights_that_came_home_go_on_where_they_were(prepared, monkeypatch):
    monkeypatch.chdir(prepared)  # what travels lies below the working folder
    out, parts = Path("away/model"), Path("away/parts")
    args = _args(Path(), "away", 6, size="toy", minutes=0.0, home=parts)
    for _ in range(2):
        assert not train_language.main(args)
    shutil.rmtree("away/work")
    shutil.rmtree(out)
    assert freight.receive(parts, Path())
    args = _args(Path(), "away", 6, size="toy", resume=out)
    assert train_language.main(args)
    (found,) = Path("away/work").glob("checkpoint-*")
    facts = json.loads((found / "run.json").read_text())
    assert (facts["step"], facts["fresh_from"]) == (6, 2)


def test_language_then_reading_then_scores(prepared, data):
    base = prepared / "base"
    train_language.main(_args(prepared, "base", 24, size="half-million"))
    folders = {"base": base / "model", "readings": prepared / "readings"}
    args = _args(prepared, "reader", 12, **READING, **folders)
    assert train_reading.main(args)
    lines = (prepared / "reader" / "work" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 12
    tokenizer = AutoTokenizer.from_pretrained(base / "model")
    losses = []
    for folder in (base, prepared / "reader"):
        model = train_language.new_model("half-million", tokenizer, seed=9)
        trained = type(model).from_pretrained(folder / "model", dtype=torch.float32)
        held_out = prepared / "tokens" / "held_out.npy"
        found = [perplexity.measure(one, tokenizer, held_out) for one in (model, trained)]
        assert found[1]["loss_per_token"] < found[0]["loss_per_token"] - 1
        losses.append(found[1]["bits_per_byte"])
    assert max(losses) < 8
    out = prepared / "scores.json"
    asked = ["--data", data, "--model", prepared / "reader" / "model", "--out", out]
    asked += ["--roads", "full", "none", "--batch", 4, "--limit", 4]
    written = score.main(score.arguments().parse_args(list(map(str, asked))))
    assert json.loads(out.read_text()) == json.loads(json.dumps(written))
    for domain in ("in-domain", "out-of-domain"):
        assert set(written["domains"][domain]) == {"full", "none"}
        assert written["domains"][domain]["full"]["asked"] == 4


def test_the_length_of_a_run_follows_from_its_minutes(prepared, monkeypatch):
    import budget_loop

    monkeypatch.setattr(budget_loop, "MEASURED", (2, 4))
    for _ in range(3):  # broken off before it was measured, and past where it would have been
        assert not train_language.main(_args(prepared, "timed", 0, size="toy", minutes=0.0))
    args = _args(prepared, "timed", 0, size="toy", whole_minutes=0.02)
    assert train_language.main(args)
    (found,) = (prepared / "timed" / "work").glob("checkpoint-*")
    facts = json.loads((found / "run.json").read_text())
    assert facts["step"] == facts["steps"] > 4
