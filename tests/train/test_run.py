"""The command of the README of recipes, from nothing to an adapter that loads."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from sac_rag import SACEngine
from sac_rag.adapter import Adapter
from sac_rag.train.__main__ import main
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.run import reading_order
from tests.tiny import byte_tokenizer, tiny_adapter, tiny_model
from tests.train.processes import parting

pytest.importorskip("datasets", reason="the extra 'train' is not installed")
TINY = Path(__file__).parents[2] / "train" / "recipes" / "tiny.yaml"


@pytest.fixture
def changes(tiny_folders, tmp_path, monkeypatch):
    """Settings that put the tiny recipe on the tiny random model."""
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    return [
        f"model={tiny_folders[0]}",
        "steps=4",
        "save_every=2",
        "data.limit=16",
        "data.held_out=0",
        "pretrain.data.train=synthetic://text?records=24&facts=8",
        "optim.lr=0.01",
    ]


def run(stage: str, out: Path, *changes: str) -> int:
    return main([stage, "--config", str(TINY), f"{stage}.out={out}", *changes])


def command(stage: str, out: Path, *changes: str) -> list[str]:
    words = ["-m", "sac_rag.train", stage, "--config", str(TINY), f"{stage}.out={out}"]
    return [sys.executable, *words, *changes]


@pytest.mark.parametrize("method", ["sac", "epl", "500x", "icae"])
def test_both_stages_make_an_adapter_that_answers(changes, tiny_folders, tmp_path, method):
    extra = [*changes, f"method={method}"]
    assert run("pretrain", tmp_path / "one", *extra) == 0
    assert run("finetune", tmp_path / "two", *extra, f"adapter={tmp_path / 'one/adapter'}") == 0
    with SACEngine.from_pretrained(tiny_folders[0], adapter=tmp_path / "two/adapter") as engine:
        assert engine.answer("Who?", ["a text about someone"], max_new_tokens=3).usage.anchors > 1
    assert (tmp_path / "two" / "history.jsonl").read_text().count('"loss"') >= 4


def test_a_stage_starts_from_the_one_before(changes, tiny_folders, tmp_path):
    run("pretrain", tmp_path / "one", *changes)
    start = tmp_path / "one" / "adapter"
    run("finetune", tmp_path / "two", *changes, f"adapter={start}", "optim.lr=0.0")
    base = AutoModelForCausalLM.from_pretrained
    first = Adapter.from_pretrained(start, model=base(tiny_folders[0]))
    second = Adapter.from_pretrained(tmp_path / "two/adapter", model=base(tiny_folders[0]))
    assert first.fingerprint() == second.fingerprint()


def test_one_command_runs_all_that_a_recipe_names(changes, tmp_path, capsys):
    out = tmp_path / "runs"
    asked = ["evaluate.limit=3", "evaluate.max_new_tokens=2"]
    small = [*changes, "steps=2", "data.held_out=2", "eval_every=1"]
    assert main(["--config", str(TINY), f"out={out}", *small, *asked]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    for stage in ("pretrain", "finetune"):
        assert str(out / stage / "adapter") in lines
    table = lines[-5:]
    assert [row.split()[0] for row in table] == ["method", "------", "full", "sac-5x", "none"]
    report = json.loads((out / "finetune" / "evaluation.json").read_text())
    assert {one["asked"] for one in report["methods"].values()} == {3}
    interval = report["methods"]["sac-5x"]["macro"]["squad_f1"]
    assert interval["low"] <= interval["value"] <= interval["high"]
    for stage in ("pretrain", "finetune"):
        lines = [json.loads(one) for one in (out / stage / "history.jsonl").open()]
        assert [one["step"] for one in lines if "eval_loss" in one] == [1, 2]
    # and once more: nothing is trained or asked again, the table is the same
    weights = (out / "finetune" / "adapter" / "adapter_model.safetensors").read_bytes()
    history = (out / "finetune" / "history.jsonl").read_text()
    assert main(["--config", str(TINY), f"out={out}", *small, *asked]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-5:] == table
    assert json.loads((out / "finetune" / "evaluation.json").read_text()) == report
    assert (out / "finetune" / "adapter" / "adapter_model.safetensors").read_bytes() == weights
    assert (out / "finetune" / "history.jsonl").read_text() == history


def test_a_run_killed_at_any_step_goes_on(changes, tmp_path):
    """Kill -9 again and again; the same command ends with the unbroken run's numbers."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    extra = [*changes, "steps=6", "data.held_out=2", "eval_every=2"]
    run("pretrain", whole, *extra)
    for steps in (1, 4):
        with subprocess.Popen(command("pretrain", broken, *extra)) as process:
            history = broken / "history.jsonl"
            while process.poll() is None:
                if history.exists() and history.read_text().count('"loss"') >= steps:
                    process.kill()
                    break
    run("pretrain", broken, *extra)
    ours, theirs = (
        (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        for folder in (whole, broken)
    )
    assert ours == theirs
    assert measured(whole) == measured(broken)


def measured(run: Path) -> list[tuple]:
    lines = [json.loads(one) for one in (run / "history.jsonl").open()]
    names = ("step", "loss", "eval_loss", "tokens_seen")
    return [tuple(line.get(name) for name in names) for line in lines if "train_loss" not in line]


def test_bfloat16_weights_learn_on_a_cpu(changes, tmp_path):
    assert run("pretrain", tmp_path / "one", *changes, "precision=bfloat16", "steps=6") == 0
    stored = load_file(tmp_path / "one" / "adapter" / "adapter_model.safetensors")
    stored |= load_file(tmp_path / "one" / "adapter" / "sac_embeddings.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    losses = [loss for _, loss, *_ in measured(tmp_path / "one")]
    assert losses[-1] < losses[0]


def test_checkpointed_layers_give_the_same_run(changes, tmp_path):
    run("pretrain", tmp_path / "one", *changes)
    run("pretrain", tmp_path / "two", *changes, "gradient_checkpointing=true")
    ours, theirs = (
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "two")
    )
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("stage", "order", "seed"),
    [
        ("pretrain", "authors", None),
        ("finetune", "authors", 0),
        ("pretrain", "shuffled", 0),
        ("finetune", "as_read", None),
    ],
)
def test_samples_are_read_as_the_authors_do(stage, order, seed):
    recipe = read_recipe(TINY, [f"data.order={order}"], stage=stage)
    expected = list(range(50))
    if seed is not None:
        random.Random(seed).shuffle(expected)
    assert reading_order(recipe, 50) == expected
    assert recipe.seed == 12345


def refusal(capsys) -> str:
    shown = capsys.readouterr().err
    return shown[shown.rindex("error: ") :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("raito=5", "unknown setting raito"),
        ("model=/nowhere", "no model that can be loaded"),
        ("data.train=[/nowhere.jsonl]", "nowhere.jsonl"),
        ("data.min_tokens=2900", "too short|left out"),
        ("data.held_out=24", "set 24 of 24 samples apart, which leaves none"),
        ("lora.init=zero", "choose released or peft"),
        ("micro_batch=3", "cannot be split"),
        ("adapter=/nowhere", "no adapter folder"),
        ("compress.ratio=511", "leaves no anchor"),
        ("fsdp=true", "there is one; start it by"),
        ("report_to=smoke_signals", "smoke_signals is not supported, only"),
    ],
)
def test_bad_input_is_one_clear_line(changes, tmp_path, capsys, change, message):
    assert run("pretrain", tmp_path / "out", *changes, "data.limit=0", change) == 2
    assert re.search(message, refusal(capsys))


def test_a_base_without_rope_is_refused(changes, tmp_path, capsys):
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=264))
    model.save_pretrained(tmp_path / "gpt2")
    byte_tokenizer().save_pretrained(tmp_path / "gpt2")
    assert run("pretrain", tmp_path / "out", *changes, f"model={tmp_path / 'gpt2'}") == 2
    assert "RoPE" in refusal(capsys)


def test_an_adapter_of_another_base_or_method_is_refused(changes, tmp_path, capsys):
    tiny_adapter(tiny_model(seed=5)).save_pretrained(tmp_path / "other")
    assert run("finetune", tmp_path / "out", *changes, f"adapter={tmp_path / 'other'}") == 2
    assert "another" in refusal(capsys)
    run("pretrain", tmp_path / "one", *changes, "steps=2")
    start = f"adapter={tmp_path / 'one/adapter'}"
    assert run("finetune", tmp_path / "out", *changes, start, "method=epl") == 2
    assert "the recipe asks for epl" in refusal(capsys)


def test_broken_lines_are_named_and_refused_past_the_limit(changes, tmp_path, capsys):
    good = json.dumps({"context": "Tiro is red.", "question": "Colour?", "answers": ["red"]})
    data = tmp_path / "mine.jsonl"
    data.write_text("\n".join([good] * 5 + ["{broken", '{"context": "no question"}'] + [good] * 5))
    mine = [*changes, f"data.train={data}", "adapter=''"]
    assert run("finetune", tmp_path / "out", *mine) == 2
    assert f"{data}:6" in refusal(capsys)
    assert run("finetune", tmp_path / "out", *mine, "data.max_bad=2") == 0


def test_a_folder_of_another_run_is_refused(changes, tmp_path, capsys):
    run("pretrain", tmp_path / "one", *changes)
    kept = (tmp_path / "one" / "history.jsonl").read_text()
    assert run("pretrain", tmp_path / "one", *changes, "compress.ratio=15") == 2
    assert "holds another run" in refusal(capsys)
    assert (tmp_path / "one" / "history.jsonl").read_text() == kept


def test_an_evaluation_needs_an_adapter_and_questions(changes, tmp_path, capsys):
    asked = ["evaluate", "--config", str(TINY), *changes, f"finetune.out={tmp_path}"]
    assert main(asked) == 2
    assert "has no adapter to evaluate: nothing was trained there" in refusal(capsys)
    assert main([*asked, "evaluate.data=[]"]) == 2
    assert "names no questions" in refusal(capsys)
    assert main([*asked, "evaluate.roads=[ful]"]) == 2
    assert "choose from compressed, full, none" in refusal(capsys)
    assert main([*asked, "evaluate.metrics=[bleu]"]) == 2
    assert "choose from paper_em" in refusal(capsys)


def test_what_cannot_be_evaluated_is_not_trained_first(changes, tmp_path, capsys):
    bad = ["evaluate.data=[/nowhere.jsonl]", f"out={tmp_path / 'runs'}"]
    assert main(["--config", str(TINY), *changes, *bad]) == 2
    assert "nowhere.jsonl" in refusal(capsys)
    assert not (tmp_path / "runs").exists()


def test_a_recipe_may_report_where_transformers_can(changes, tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    assert run("pretrain", tmp_path / "out", *changes, "report_to=tensorboard") == 0
    assert list((tmp_path / "out").rglob("events.out.tfevents.*"))


def test_what_is_not_installed_is_named(changes, tmp_path, capsys):
    missing = [name for name in ("wandb", "mlflow", "tensorboard") if find_spec(name) is None]
    if not missing:
        pytest.skip("all of them are installed")
    assert run("pretrain", tmp_path / "out", *changes, f"report_to={missing[0]}") == 2
    assert "to be installed" in refusal(capsys)


def test_two_processes_equal_one(changes, tmp_path):
    """The same global batch on two gloo processes moves the weights the same way."""
    settings = [*changes, "micro_batch=2", "optim.lr=0.001", "data.held_out=3"]
    run("pretrain", tmp_path / "one", *settings)
    parting(command("pretrain", tmp_path / "two", *settings))
    same_adapter(tmp_path / "one", tmp_path / "two")
    ours, theirs = measured(tmp_path / "one"), measured(tmp_path / "two")
    for (step, *numbers, seen), (their_step, *their_numbers, their_seen) in zip(
        ours, theirs, strict=True
    ):
        assert (step, seen) == (their_step, their_seen)
        assert numbers == [one if one is None else pytest.approx(one) for one in their_numbers]


def same_adapter(first: Path, second: Path) -> None:
    for name in ("adapter_model.safetensors", "sac_embeddings.safetensors"):
        ours, theirs = (load_file(folder / "adapter" / name) for folder in (first, second))
        assert ours.keys() == theirs.keys()
        for key, weight in ours.items():
            torch.testing.assert_close(weight, theirs[key], atol=2e-5, rtol=1e-3)
