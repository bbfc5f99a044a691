"""A training that lives within minutes: it stops in time, and the next call goes on where it stood.

What batch ``n`` holds follows from ``n`` alone and nothing is drawn while training, so weights,
optimiser and step are all of a run's state: on one machine, with the same number of threads, a
broken run ends with the very weights of an unbroken one. A checkpoint is written every 40 seconds.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optimizers import Optimizers, rate, restore, set_rate, state_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

log = logging.getLogger("micro")
SAVE_S, TELL_S = 40.0, 10.0
MEASURED = (20, 60)
"""Steps of a call between which the time of one is measured, where the length of a run follows."""
CLIP = 1.0
SAVING = 0.96
"""Share of the time that is left for steps beside checkpoints and the end."""
FRESH_STEPS = 20
"""Warm-up of optimisers that begin in the middle of a run, and part of that at its start."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a run is, and how much of it one call does."""

    minutes: float
    """Of this call, from ``started`` on; the run stops before it is over."""
    started: float
    """When the call began, as ``time.time()``."""
    steps: int = 0
    """Of the whole run; 0 measures how many fit into ``whole_minutes``."""
    whole_minutes: float = 9.0
    """Of the steps of the whole run, where they are measured; what is before the first is not."""
    accumulate: int = 1
    """Batches per step."""
    workers: int = 0
    """Processes that prepare batches."""

    @property
    def left_s(self) -> float:
        """Seconds until the call must stop."""
        return self.started + self.minutes * 60 - time.time()

    @property
    def over(self) -> bool:
        """Whether the call must stop now."""
        return self.left_s < 0


class Numbered(Dataset):
    """Batches by number."""

    def __init__(self, make: Callable[[int], dict[str, Tensor]], length: int) -> None:
        self._make, self._length = make, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return self._make(number)


class Run:
    """One training.

    Args:
        model: What learns.
        optimizers: Of its weights.
        lr: Learning rate at its height.
        make_batch: Gives batch ``n``; with workers, in another process.
        loss_of: Gives a batch's loss.
        work: Folder of checkpoint and history.
        identity: What the run's numbers depend on; a folder that holds another run is refused.
        after_save: Called with each checkpoint's facts, to write the model out.
        resume: Facts of a checkpoint of which only the weights came from another machine (and are
            in ``model``): the optimisers begin anew there, with a short warm-up of their own.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizers: Optimizers,
        lr: float,
        make_batch: Callable[[int], dict[str, Tensor]],
        loss_of: Callable[[dict[str, Tensor]], Tensor],
        work: Path,
        identity: dict[str, Any],
        after_save: Callable[[dict[str, Any]], None],
        resume: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.optimizers, self.lr = model, optimizers, lr
        self.make_batch, self.loss_of, self.after_save = make_batch, loss_of, after_save
        self.work, self.identity = work, identity
        self.step, self.steps, self.elapsed_s, self.fresh_from = 0, 0, 0.0, 0
        self._load()
        if resume and not self.step:
            self._take(resume)
            self.fresh_from = self.step

    def train(self, budget: Budget) -> bool:
        """Train until the run or the call's minutes are over, or SIGTERM comes.

        Returns:
            Whether the run is finished.
        """
        stop = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
        self.steps = self.steps or budget.steps
        batches = self._batches(budget)
        now = saved_s = told_s = time.time()
        began_s, began_step = now, self.step
        marks: list[float] = []
        while not (self.steps and self.step >= self.steps) and not stop.is_set():
            loss = self._one_step(batches, budget)
            self.elapsed_s += time.time() - now
            now = time.time()
            if not self.steps:
                self._plan(budget, marks, done=self.step - began_step)
            if now - told_s > TELL_S or self.step == self.steps:
                speed = (self.step - began_step) / (now - began_s)
                self._tell(loss, speed)
                told_s = now
            if budget.over:
                break
            if now - saved_s > SAVE_S:
                self.save()
                now = saved_s = time.time()
        self.save()
        signal.signal(signal.SIGTERM, before)
        done = bool(self.steps) and self.step >= self.steps
        log.info("step %d of %d: %s", self.step, self.steps, "finished" if done else "goes on")
        return done

    def save(self) -> None:
        """Write the checkpoint under another name first, then drop the older one.

        Raises:
            FloatingPointError: If weights are no longer numbers; the older checkpoint stays.
        """
        facts = {
            "identity": self.identity,
            "step": self.step,
            "steps": self.steps,
            "elapsed_s": self.elapsed_s,
            "fresh_from": self.fresh_from,
        }
        folder = self.work / f"checkpoint-{self.step}"
        if not folder.is_dir():  # at a step that is on disk already there is nothing to gain
            self._write(folder, facts)
        self.after_save(facts)

    def _write(self, folder: Path, facts: dict[str, Any]) -> None:
        weights = {name: value.detach().cpu() for name, value in self.model.named_parameters()}
        broken = [name for name, value in weights.items() if not value.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f"after step {self.step} {len(broken)} weights hold no numbers, {broken[0]} first; "
                f"{self.work} keeps the checkpoint before; give a lower --lr and another --work"
            )
        temporary = self.work / f".checkpoint.{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(weights, temporary / "weights.safetensors")
        save_file(state_tensors(self.optimizers), temporary / "optimizers.safetensors")
        (temporary / "run.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
        temporary.rename(folder)
        for older in self.work.glob("checkpoint-*"):
            if older != folder:
                shutil.rmtree(older)

    def _take(self, facts: dict[str, Any]) -> None:
        if facts["identity"] != self.identity:
            raise SystemExit(
                f"{self.work} holds another run: it was {facts['identity']}, asked for is "
                f"{self.identity}; give another --work, or delete it"
            )
        self.step, self.steps = facts["step"], facts["steps"]
        self.elapsed_s, self.fresh_from = facts["elapsed_s"], facts["fresh_from"]

    def _load(self) -> None:
        found = sorted(self.work.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
        if not found:
            return
        self._take(json.loads((found[-1] / "run.json").read_text("utf-8")))
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(found[-1] / "weights.safetensors").items():
                own[name].copy_(value)
        restore(self.optimizers, load_file(found[-1] / "optimizers.safetensors"))
        history = self.work / "history.jsonl"
        if history.is_file():  # lines of steps that were lost are said again; half a line is lost
            lines = [line for line in history.read_text("utf-8").splitlines(True) if "}\n" in line]
            kept = [line for line in lines if json.loads(line)["step"] <= self.step]
            temporary = self.work / f".history.{os.getpid()}"
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(history)

    def _batches(self, budget: Budget) -> Iterator[dict[str, Tensor]]:
        first = self.step * budget.accumulate
        last = self.steps * budget.accumulate if self.steps else 1 << 40
        device = next(self.model.parameters()).device
        loader = DataLoader(
            Numbered(self.make_batch, last),
            batch_size=None,
            sampler=range(first, last),
            num_workers=budget.workers,
            prefetch_factor=2 if budget.workers else None,
            pin_memory=device.type == "cuda",
            multiprocessing_context="fork" if budget.workers else None,
        )
        for batch in loader:
            yield {name: value.to(device, non_blocking=True) for name, value in batch.items()}

    def _one_step(self, batches: Iterator[dict[str, Tensor]], budget: Budget) -> Tensor:
        total = torch.zeros((), device=next(self.model.parameters()).device)
        for _ in range(budget.accumulate):
            loss = self.loss_of(next(batches)) / budget.accumulate
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        # until the length is known the rate is level: the decay comes long after that
        steps = self.steps or 1 << 30
        again = min(1.0, (self.step - self.fresh_from + 1) / FRESH_STEPS)
        set_rate(self.optimizers, self.lr * rate(self.step, steps) * again)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def _plan(self, budget: Budget, marks: list[float], *, done: int) -> None:
        """Fix the number of steps once the time of one is known, from the steps of this call."""
        if done in MEASURED:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append(time.time())
        if len(marks) == len(MEASURED):
            step_s = (marks[1] - marks[0]) / (MEASURED[1] - MEASURED[0])
            left_s = budget.whole_minutes * 60 - self.elapsed_s
            if budget.whole_minutes <= budget.minutes:
                # meant for one call: what started before the first step comes off it
                left_s = min(left_s, budget.left_s)
            left_s *= SAVING
            self.steps = self.step + max(1, int(left_s / step_s))
            log.info("%.3f s a step: the run has %d steps", step_s, self.steps)

    def _tell(self, loss: Tensor, speed: float) -> None:
        value = loss.item()
        log.info(
            "step %d of %s  loss %.3f  %.2f steps/s  %.0f s",
            *(self.step, self.steps or "?", value, speed, self.elapsed_s),
        )
        line = {"step": self.step, "loss": value, "steps_s": speed, "elapsed_s": self.elapsed_s}
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "history.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
