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
from tests.train.short_runs import SAMPLES, recipe_for, trainer_for


def main(out: Path) -> None:
    torch.set_num_threads(1)
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
    facts = {
        "base": sum(weights[name].numel() for name in base),
        "base_here": sum(held[name] for name in base),
        "learned": sum(weight.numel() for weight in weights.values() if weight.requires_grad),
        "learned_here": sum(held[name] for name in held if weights[name].requires_grad),
    }
    (out / f"held-{os.environ['RANK']}.json").write_text(json.dumps(facts))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
