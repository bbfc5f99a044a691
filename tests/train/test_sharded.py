"""Weights shared out over two gloo processes (FSDP2) learn what one process learns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sac_rag.adapter import Adapter
from sac_rag.errors import ConfigError
from sac_rag.train.checkpoints import last_checkpoint
from sac_rag.train.sharding import check_version, sharding_arguments
from tests.tiny import tiny_model
from tests.train.processes import together
from tests.train.sharded_worker import trainer_for
from tests.train.short_runs import SAMPLES, history, recipe_for
from tests.train.test_run import same_adapter


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of the same run: in one process, and sharded over two, stopped and resumed."""
    alone, sharded = (tmp_path_factory.mktemp(name) for name in ("alone", "sharded"))
    trainer = trainer_for(recipe_for(alone), held_out=SAMPLES[:3])
    trainer.train()
    trainer.save_adapter(alone / "adapter")
    together([sys.executable, "-m", "tests.train.sharded_worker", str(sharded)])
    return alone, sharded


def test_the_adapter_is_written_whole(runs):
    same_adapter(*runs)
    Adapter.from_pretrained(runs[1] / "adapter", model=tiny_model())


def test_the_run_is_that_of_one_process(runs):
    alone, sharded = map(numbers, runs)
    assert len(alone) > 1
    assert all(number is not None for line in alone for number in line)
    for ours, theirs in zip(alone, sharded, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def numbers(run: Path) -> list[list]:
    names = ("step", "loss", "grad_norm", "tokens_seen")
    return [[line.get(name) for name in names] for line in history(run) if "loss" in line]


def test_the_held_out_loss_is_that_of_one_process(runs):
    alone, sharded = (
        next(line["eval_loss"] for line in history(run) if "eval_loss" in line) for run in runs
    )
    assert sharded == pytest.approx(alone, rel=1e-4)


def test_each_process_holds_half_of_base_and_adapter(runs):
    for process in (0, 1):
        facts = json.loads((runs[1] / f"held-{process}.json").read_text())
        for kind in ("base", "learned"):
            assert facts[f"{kind}_here"] <= 0.55 * facts[kind]


def test_a_checkpoint_holds_no_shard_of_the_base(runs):
    checkpoint = Path(last_checkpoint(runs[1]) or "")
    stored = load_file(checkpoint / "learned.safetensors")
    assert all("lora_" in name or "method." in name for name in stored)
    assert not [path for path in checkpoint.iterdir() if "fsdp" in path.name]
    state = torch.load(checkpoint / "optimizer.bin", weights_only=True)["state"]
    assert state.keys() <= stored.keys()
    assert {name.partition(".")[0] for name in state} == {"model", "method"}
    assert all(state[name]["exp_avg"].shape == stored[name].shape for name in state)


def test_a_sharded_checkpoint_is_not_gone_on_from_without_shards(runs):
    recipe = recipe_for(runs[1], steps=6)
    with pytest.raises(ConfigError, match="was written with fsdp"):
        trainer_for(recipe).train(resume_from_checkpoint=last_checkpoint(runs[1]))


def test_one_process_has_nobody_to_share_with():
    with pytest.raises(ConfigError, match="accelerate launch --num_processes 8"):
        sharding_arguments(torch.nn.Linear(1, 1), processes=1)


def test_the_old_fsdp_is_refused():
    from accelerate.utils import FullyShardedDataParallelPlugin

    check_version(FullyShardedDataParallelPlugin(fsdp_version=2))
    with pytest.raises(ConfigError, match="version 1"):
        check_version(FullyShardedDataParallelPlugin(fsdp_version=1))
