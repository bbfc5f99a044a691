"""The command of the README of recipes, from nothing to an adapter that loads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sac_rag import SACEngine
from sac_rag.adapter import Adapter
from sac_rag.train.__main__ import main
from sac_rag.train.run import Samples

pytest.importorskip("datasets", reason="the extra 'train' is not installed")
RECIPES = Path(__file__).parents[2] / "train" / "recipes"


@pytest.fixture
def changes(tiny_folders, tmp_path, monkeypatch):
    """Settings that put a tiny recipe on the tiny random model."""
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    return [
        f"model={tiny_folders[0]}",
        "steps=4",
        "save_every=2",
        "data.limit=16",
        "data.max_tokens=3000",
        "optim.lr=0.01",
    ]


def run(recipe: str, out: Path, *changes: str) -> int:
    return main(["--config", str(RECIPES / f"{recipe}.yaml"), f"out={out}", *changes])


@pytest.mark.parametrize("method", ["sac", "epl", "500x", "icae"])
def test_both_stages_make_an_adapter_that_answers(changes, tiny_folders, tmp_path, method):
    extra = [*changes, f"method={method}"]
    assert run("tiny_pretrain", tmp_path / "one", *extra) == 0
    assert (
        run("tiny_finetune", tmp_path / "two", *extra, f"adapter={tmp_path / 'one/adapter'}") == 0
    )
    with SACEngine.from_pretrained(tiny_folders[0], adapter=tmp_path / "two/adapter") as engine:
        assert engine.answer("Who?", ["a text about someone"], max_new_tokens=3).usage.anchors > 1
    assert (tmp_path / "two" / "history.jsonl").read_text().count('"loss"') >= 4


def test_a_stage_starts_from_the_one_before(changes, tiny_folders, tmp_path):
    run("tiny_pretrain", tmp_path / "one", *changes)
    start = tmp_path / "one" / "adapter"
    run("tiny_finetune", tmp_path / "two", *changes, f"adapter={start}", "optim.lr=0.0")
    base = AutoModelForCausalLM.from_pretrained
    first = Adapter.from_pretrained(start, model=base(tiny_folders[0]))
    second = Adapter.from_pretrained(tmp_path / "two/adapter", model=base(tiny_folders[0]))
    assert first.fingerprint() == second.fingerprint()


def test_a_run_killed_at_any_step_goes_on(changes, tmp_path):
    """Kill -9 in the middle; the same command then ends with the unbroken run's numbers."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("tiny_pretrain", whole, *changes, "steps=6")
    command = [
        sys.executable,
        "-m",
        "sac_rag.train",
        "--config",
        str(RECIPES / "tiny_pretrain.yaml"),
    ]
    with subprocess.Popen([*command, f"out={broken}", *changes, "steps=6"]) as process:
        history = broken / "history.jsonl"
        while process.poll() is None:
            if history.exists() and history.read_text().count('"loss"') >= 3:
                process.kill()
                break
    run("tiny_pretrain", broken, *changes, "steps=6")
    ours, theirs = (
        (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        for folder in (whole, broken)
    )
    assert ours == theirs


def test_distractors_are_joined_and_repeatable():
    rows = [
        {"context_ids": [[index] * 3], "question_ids": [1], "answer_ids": [2]} for index in range(9)
    ]
    make = Samples(rows, order=range(9), distractors=3, seed=0)
    for index in range(9):
        sample = make[index]
        assert len(sample.documents) == 4
        assert [index] * 3 in sample.documents
        assert len({document[0] for document in sample.documents}) == 4
        assert sample == make[index]
    assert {tuple(make[index].documents).index([index] * 3) for index in range(9)} != {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("raito=5", "unknown setting raito"),
        ("model=/nowhere", "no model that can be loaded"),
        ("data.train=[/nowhere.jsonl]", "nowhere.jsonl"),
        ("data.min_tokens=2900", "min_tokens|no sample|left out|right length"),
        ("lora.init=zero", "choose released or peft"),
        ("micro_batch=3", "cannot be split"),
        ("adapter=/nowhere", "no adapter folder"),
    ],
)
def test_bad_input_is_one_clear_line(changes, tmp_path, capsys, change, message):
    import re

    assert run("tiny_pretrain", tmp_path / "out", *changes, change) == 2
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith("error: ")
    assert re.search(message, shown)


def test_two_processes_equal_one(changes, tmp_path):
    """The same global batch on two gloo processes moves the weights the same way."""
    settings = [*changes, "micro_batch=2", "optim.lr=0.001"]
    run("tiny_pretrain", tmp_path / "one", *settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--master-addr=127.0.0.1", f"--master-port={port}"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *where]
    recipe = ["-m", "sac_rag.train", "--config", str(RECIPES / "tiny_pretrain.yaml")]
    done = subprocess.run(
        [*launch, *recipe, f"out={tmp_path / 'two'}", *settings],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "two")
    )
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=2e-5, rtol=1e-3)
