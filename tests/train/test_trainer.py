"""A broken run goes on as if it had not been; a folder belongs to one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sac_rag.adapter import Adapter
from sac_rag.errors import ConfigError
from sac_rag.train.checkpoints import LEARNED_FILE, last_checkpoint
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.recipe import DataSettings, Objectives, OptimSettings, Recipe
from sac_rag.train.samples import Sample
from sac_rag.train.trainer import make_trainer
from tests.tiny import tiny_adapter, tiny_model

SAMPLES = [
    Sample(
        documents=(torch.randint(3, 264, (20 + 7 * index,)).tolist(),),
        target=torch.randint(3, 264, (4 + index % 3,)).tolist(),
    )
    for index in range(24)
]


def recipe_for(out: Path, **changes) -> Recipe:
    settings = {
        "stage": "pretrain",
        "objectives": Objectives(continuation=1.0),
        "data": DataSettings(train=("synthetic://text",)),
        "optim": OptimSettings(lr=1e-2, warmup_steps=3),
        "steps": 6,
        "batch": 4,
        "micro_batch": 2,
        "save_every": 3,
        "log_every": 1,
    }
    return Recipe(out=str(out), **{**settings, **changes})


def train(recipe: Recipe, *, until: int | None = None) -> list[float]:
    adapter = tiny_adapter(tiny_model())
    make_trainable(adapter)
    module = TrainingModule(adapter, weights={"continuation": 1.0})
    trainer = make_trainer(module, SAMPLES, recipe)
    if until is not None:
        trainer.args.max_steps = until
    trainer.train(resume_from_checkpoint=last_checkpoint(recipe.out))
    lines = (Path(recipe.out) / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]


def learned(out: Path) -> dict[str, torch.Tensor]:
    return load_file(Path(last_checkpoint(out) or "") / LEARNED_FILE)


def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(tmp_path):
    whole = train(recipe_for(tmp_path / "whole"))
    train(recipe_for(tmp_path / "broken"), until=3)
    resumed = train(recipe_for(tmp_path / "broken"))
    assert len(whole) == 6
    assert whole == resumed
    ours, theirs = learned(tmp_path / "whole"), learned(tmp_path / "broken")
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name


def test_accumulating_equals_one_batch(tmp_path):
    train(recipe_for(tmp_path / "small", micro_batch=1))
    train(recipe_for(tmp_path / "large", micro_batch=4))
    for name, weight in learned(tmp_path / "small").items():
        torch.testing.assert_close(weight, learned(tmp_path / "large")[name], atol=1e-4, rtol=1e-3)


def test_a_checkpoint_holds_an_adapter_that_loads(tmp_path):
    train(recipe_for(tmp_path))
    adapter = Adapter.from_pretrained(
        Path(last_checkpoint(tmp_path) or "") / "adapter", model=tiny_model()
    )
    stored = learned(tmp_path)
    assert torch.equal(
        adapter.method.anchor_embeddings.detach(), stored["method.anchor_embeddings"]
    )


def test_only_what_is_learned_is_saved(tmp_path):
    train(recipe_for(tmp_path))
    assert all("lora_" in name or "method." in name for name in learned(tmp_path))


def test_a_folder_of_another_run_is_refused(tmp_path):
    train(recipe_for(tmp_path))
    with pytest.raises(ConfigError, match="holds another run"):
        train(recipe_for(tmp_path, optim=OptimSettings(lr=2e-2, warmup_steps=3)))


def test_a_checkpoint_cut_while_written_is_passed_over(tmp_path):
    train(recipe_for(tmp_path))
    newest = Path(last_checkpoint(tmp_path) or "")
    assert newest.name == "checkpoint-6"
    (newest / "trainer_state.json").unlink()
    assert Path(last_checkpoint(tmp_path) or "").name == "checkpoint-3"


def test_a_batch_that_does_not_split_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be split"):
        train(recipe_for(tmp_path, batch=4, micro_batch=3))


def test_the_learning_rate_warms_up_and_stays(tmp_path):
    train(recipe_for(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates[-1] == pytest.approx(1e-2)
    assert rates[0] < rates[1] <= rates[2] == rates[-1]


def test_recipes_differ_by_what_changes_numbers(tmp_path):
    recipe = recipe_for(tmp_path)
    assert recipe.identity() == replace(recipe, out="elsewhere", log_every=7).identity()
    assert recipe.identity() != replace(recipe, seed=1).identity()
