"""A broken run goes on as if it had not been; a folder belongs to one run."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from sac_rag.adapter import Adapter
from sac_rag.errors import ConfigError, StoreWriteError
from sac_rag.train.checkpoints import last_checkpoint, writing
from sac_rag.train.recipe import OptimSettings
from tests.tiny import tiny_model
from tests.train.short_runs import SAMPLES, history, learned, recipe_for, train, trainer_for


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
    state = newest / "trainer_state.json"
    state.write_text(state.read_text()[:40])
    assert Path(last_checkpoint(tmp_path) or "").name == "checkpoint-3"
    state.unlink()
    assert Path(last_checkpoint(tmp_path) or "").name == "checkpoint-3"


def test_a_batch_that_does_not_split_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be split"):
        train(recipe_for(tmp_path, batch=4, micro_batch=3))


def test_the_learning_rate_warms_up_and_stays(tmp_path):
    train(recipe_for(tmp_path))
    rates = [line["learning_rate"] for line in history(tmp_path) if "learning_rate" in line]
    assert rates[-1] == pytest.approx(1e-2)
    assert rates[0] < rates[1] <= rates[2] == rates[-1]


def test_recipes_differ_by_what_changes_numbers(tmp_path):
    recipe = recipe_for(tmp_path)
    other = replace(recipe, out="elsewhere", log_every=7, gradient_checkpointing=True)
    assert recipe.identity() == other.identity()
    assert recipe.identity() != replace(recipe, seed=1).identity()


def test_samples_are_read_in_their_own_order(tmp_path):
    batches = trainer_for(recipe_for(tmp_path)).get_train_dataloader()
    assert [sample for batch in batches for sample in batch["samples"]] == SAMPLES


@pytest.mark.parametrize("world", [2, 3])
def test_a_process_reads_every_worldth_sample(tmp_path, world):
    """As the authors' shards of pretraining: accelerate deals micro-batches of one round."""
    sampler = trainer_for(recipe_for(tmp_path))._get_train_sampler()
    dealt = BatchSampler(sampler, batch_size=1, drop_last=False)
    for process in range(world):
        shard = [index for [index] in BatchSamplerShard(dealt, world, process)]
        assert shard == list(range(process, len(SAMPLES), world))


def test_held_out_samples_are_measured_and_move_nothing(tmp_path):
    held_out = SAMPLES[:5]
    plain = train(recipe_for(tmp_path / "plain"))
    trainer = trainer_for(recipe_for(tmp_path / "measured", eval_every=2), held_out=held_out)
    trainer.train()
    lines = history(tmp_path / "measured")
    assert [line["loss"] for line in lines if "loss" in line] == plain
    assert [line["step"] for line in lines if "eval_loss" in line] == [2, 4, 6]
    assert trainer.is_measured
    losses = [trainer._module.continuation_losses([sample]).item() for sample in held_out]
    lengths = [len(sample.target) for sample in held_out]
    of_tokens = sum(loss * length for loss, length in zip(losses, lengths, strict=True))
    last = [line for line in lines if "eval_loss" in line][-1]
    assert last["eval_loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert last["eval_perplexity"] == pytest.approx(math.exp(of_tokens / sum(lengths)), rel=1e-4)


def test_tokens_are_counted_on_over_a_resume(tmp_path):
    train(recipe_for(tmp_path), until=3)
    train(recipe_for(tmp_path))
    lines = [line for line in history(tmp_path) if "loss" in line]
    read = [sum(one.num_tokens for one in SAMPLES[4 * step : 4 * step + 4]) for step in range(6)]
    assert [line["tokens_seen"] for line in lines] == [sum(read[: step + 1]) for step in range(6)]
    assert lines[-1]["eta_seconds"] == 0 < lines[1]["eta_seconds"]


def test_what_was_logged_behind_the_checkpoint_is_dropped(tmp_path):
    train(recipe_for(tmp_path), until=3)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 9.0}\n{"step": 5, "lo')
    train(recipe_for(tmp_path))
    assert [line["step"] for line in history(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5, 6]


@contextmanager
def files_up_to(num_bytes: int):
    """Let the system refuse to write larger files."""
    resource = pytest.importorskip("resource", reason="no limits on this system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_weights_that_cannot_be_written_leave_the_earlier_checkpoint(tmp_path):
    whole = train(recipe_for(tmp_path / "whole"))
    broken = recipe_for(tmp_path / "broken")
    train(broken, until=3)
    with files_up_to(8192), pytest.raises(StoreWriteError, match="goes on from checkpoint-3"):
        train(broken)
    assert not (tmp_path / "broken" / "checkpoint-6").exists()
    assert train(broken) == whole


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full on this system")
    train(recipe_for(tmp_path), until=3)
    (tmp_path / "checkpoint-6").mkdir()
    (tmp_path / "checkpoint-6" / "optimizer.pt").symlink_to("/dev/full")
    with pytest.raises(StoreWriteError, match="goes on from checkpoint-3"):
        train(recipe_for(tmp_path))
    assert Path(last_checkpoint(tmp_path) or "").name == "checkpoint-3"
    assert len(train(recipe_for(tmp_path))) == 6


def test_other_errors_in_a_checkpoint_are_not_the_disks(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), writing(tmp_path / "x", run=tmp_path):
        raise RuntimeError("mine")
