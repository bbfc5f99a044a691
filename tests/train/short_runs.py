"""Runs of a few steps on the tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from sac_rag.train.checkpoints import LEARNED_FILE, last_checkpoint
from sac_rag.train.loop import SACTrainer
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.recipe import DataSettings, Objectives, OptimSettings, Recipe
from sac_rag.train.samples import Sample
from sac_rag.train.trainer import make_trainer
from tests.tiny import tiny_adapter, tiny_model

DRAW = torch.Generator().manual_seed(0)  # the same in every process
SAMPLES = [
    Sample(
        documents=(torch.randint(3, 264, (20 + 7 * index,), generator=DRAW).tolist(),),
        target=torch.randint(3, 264, (4 + index % 3,), generator=DRAW).tolist(),
    )
    for index in range(24)
]


def recipe_for(out: Path, **changes) -> Recipe:
    """Give six steps of four samples, a checkpoint after three."""
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


def module_for(ratios: tuple[int, ...] = ()) -> TrainingModule:
    """Put an adapter on the tiny model that learns continuation, at 5x or several ratios."""
    adapter = tiny_adapter(tiny_model(), ratios=ratios)
    make_trainable(adapter)
    return TrainingModule(adapter, weights={"continuation": 1.0})


def trainer_for(recipe: Recipe, samples: list[Sample] = SAMPLES, **held_out) -> SACTrainer:
    """Make the trainer of a recipe."""
    return make_trainer(module_for(recipe.compress.ratios), samples, recipe, **held_out)


def train(
    recipe: Recipe, samples: list[Sample] = SAMPLES, *, until: int | None = None, **held_out
) -> list[float]:
    """Train from the last checkpoint, or up to a step; give every step's loss so far."""
    trainer = trainer_for(recipe, samples, **held_out)
    if until is not None:
        trainer.args.max_steps = until
    trainer.train(resume_from_checkpoint=last_checkpoint(recipe.out))
    return [line["loss"] for line in history(recipe.out) if "loss" in line]


def history(out: Path | str) -> list[dict]:
    """Read what a run has logged."""
    return [json.loads(line) for line in (Path(out) / "history.jsonl").open()]


def learned(out: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a run's last checkpoint."""
    return load_file(Path(last_checkpoint(out) or "") / LEARNED_FILE)
