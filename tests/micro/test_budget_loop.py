"""A run keeps a checkpoint that can be gone on from, whatever becomes of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from budget_loop import Budget, Run
from safetensors.torch import load_file


def _run(work: Path, *, broken_from: int = 1 << 30) -> Run:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)

    def loss_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        wrong = model(batch["x"]).square().mean()
        return wrong * float("nan") if batch["number"] >= broken_from else wrong

    return Run(
        model=model,
        optimizers=[torch.optim.AdamW(model.parameters())],
        lr=0.1,
        make_batch=lambda n: {"x": torch.full((2, 3), 1.0 + n), "number": torch.tensor(n)},
        loss_of=loss_of,
        work=work,
        identity={"run": "small"},
        after_save=lambda facts: None,
    )


def _budget(steps: int, minutes: float = 5.0) -> Budget:
    return Budget(minutes=minutes, started=time.time(), steps=steps)


def _checkpoint(work: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    (found,) = work.glob("checkpoint-*")
    return found, load_file(found / "weights.safetensors")


def test_weights_that_are_no_numbers_leave_the_checkpoint_before(tmp_path):
    assert not _run(tmp_path).train(_budget(9, minutes=0.0))
    folder, before = _checkpoint(tmp_path)
    with pytest.raises(FloatingPointError, match="lower --lr"):
        _run(tmp_path, broken_from=3).train(_budget(9))
    again, after = _checkpoint(tmp_path)
    assert again == folder
    assert torch.equal(after["weight"], before["weight"])


def test_a_call_with_nothing_to_do_leaves_the_checkpoint_alone(tmp_path):
    assert _run(tmp_path).train(_budget(2))
    folder, before = _checkpoint(tmp_path)
    written = (folder / "weights.safetensors").stat().st_ino
    assert _run(tmp_path).train(_budget(2))
    again, after = _checkpoint(tmp_path)
    assert (again / "weights.safetensors").stat().st_ino == written
    assert torch.equal(after["weight"], before["weight"])


def test_half_a_line_of_history_stops_nobody(tmp_path):
    """A process that is killed may leave one."""
    assert _run(tmp_path).train(_budget(2))
    history = tmp_path / "history.jsonl"
    whole = history.read_text()
    (line,) = whole.splitlines()
    later = json.dumps(json.loads(line) | {"step": 3})
    history.write_text(f"{whole}{later}\n{line[: len(line) // 2]}")
    assert _run(tmp_path).step == 2
    assert history.read_text() == whole
