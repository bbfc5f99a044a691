"""One of two processes that train with their weights shared out; started by ``test_sharded``.

Usage: python -m torch.distributed.run --nproc-per-node=2 -m tests.train.sharded_worker OUT
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from sac_rag.train.checkpoints import last_checkpoint
from sac_rag.train.distillation import Distillation
from sac_rag.train.group import leave_group
from sac_rag.train.loop import SACTrainer
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import OBJECTIVES
from sac_rag.train.recipe import Recipe
from sac_rag.train.trainer import make_trainer
from tests.tiny import tiny_adapter, tiny_model
from tests.train.short_runs import SAMPLES, recipe_for


def trainer_for(recipe: Recipe, **held_out) -> SACTrainer:
    """Make a trainer of all that reads weights: encoder, decoder, its sink and the teacher."""
    adapter = tiny_adapter(tiny_model(), sink=True)
    make_trainable(adapter)
    module = TrainingModule(
        adapter,
        weights={"continuation": 1.0, "distillation": 1.0},
        bos_id=0,
        objectives={**OBJECTIVES, "distillation": Distillation(bos_id=0)},
    )
    return make_trainer(module, SAMPLES, recipe, **held_out)


def train(out: Path) -> dict[str, int]:
    """Train with a stop between; count the weights that are this process's own."""
    recipe = replace(recipe_for(out, micro_batch=1, fsdp=True), gradient_checkpointing=True)
    broken = trainer_for(recipe)
    broken.args.max_steps = 3
    broken.train()
    # and on from there, in a trainer of its own
    trainer = trainer_for(recipe, held_out=SAMPLES[:3])
    trainer.train(resume_from_checkpoint=last_checkpoint(out))
    trainer.save_adapter(out / "adapter")
    weights = dict(trainer._module.named_parameters())
    held = {name: weight.to_local().numel() for name, weight in weights.items()}
    base = [name for name in weights if "lora_" not in name and name.startswith("model.")]
    return {
        "base": sum(weights[name].numel() for name in base),
        "base_here": sum(held[name] for name in base),
        "learned": sum(weight.numel() for weight in weights.values() if weight.requires_grad),
        "learned_here": sum(held[name] for name in held if weights[name].requires_grad),
    }


def main(out: Path) -> None:
    """Train, and part."""
    torch.set_num_threads(1)
    facts = train(out)
    leave_group()
    (out / f"held-{os.environ['RANK']}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
