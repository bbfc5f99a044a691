"""A training run that can be stopped and goes on from its checkpoint, and one that climbs the
curriculum."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pair
import torch
from atlas import World
from curriculum import LEVELS, Batch, Coder, make_batch
from reader import fast_dtype
from torch import Tensor, nn

log = logging.getLogger("train")
WINDOW = 60
"""Batches over which the share of right answers is measured."""
NARROW = 64
"""Smaller side of a matrix up to which Muon costs little on any processor."""
SAVE_S, TELL_S = 120, 10
"""Seconds between checkpoints, and between lines of the log."""


def optimizers(
    matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter], *, lr: float
) -> list[torch.optim.Optimizer]:
    """Make Muon for matrices, AdamW for the rest, and for large matrices where Muon would be slow.

    Muon computes in bfloat16, on a side of the matrix: the rank of a LoRA, or the width of a layer.
    """
    plain: dict[str, Any] = {"lr": lr, "betas": (0.9, 0.98), "fused": True}
    narrow = all(min(matrix.shape) <= NARROW for matrix in matrices)
    if narrow or fast_dtype() is torch.bfloat16:
        first = torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
    else:
        first = torch.optim.AdamW(matrices, weight_decay=0.02, **plain)
    return [first, torch.optim.AdamW(others, weight_decay=0.0, **plain)]


def arguments(
    description: str | None, *, minutes: float, lr: float = 2e-3
) -> argparse.ArgumentParser:
    """Give the parser of what all trainings are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--start", type=Path, help="what to go on from; else from nothing")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tiny", action="store_true")
    return parser


class Run:
    """What all trainings share; a training says what it reads, what its loss is, what it writes.

    Args:
        work: Folder of the checkpoint.
        matrices: Weights of layers, (out, in).
        others: Embeddings, norms and the like.
        lr: Learning rate before it decays.
        decay: Last share of the time, in which the rate falls to nothing.
        warmup: Steps in which the rate rises.
    """

    def __init__(
        self,
        *,
        work: Path,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        lr: float,
        decay: float,
        warmup: int = 100,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.lr, self.decay, self.warmup = work, lr, decay, warmup
        self.parameters = [*matrices, *others]
        self.optimizers = optimizers(matrices, others, lr=lr)
        self.step, self.tokens, self.elapsed_s = 0, 0, 0.0
        self.done = 0.0
        """Share of the time that was over when the last step began."""
        self.recent: list[float] = []
        self._since_s = time.time()

    def next_batch(self) -> Batch:
        """Give what is read in this step, by this process."""
        raise NotImplementedError

    def loss_of(self, batch: Batch) -> tuple[Tensor, float]:
        """Give the loss of a batch and the share of right answers."""
        raise NotImplementedError

    def export(self, out: Path) -> None:
        """Write what was trained as the library loads it."""
        raise NotImplementedError

    def hear(self, right: float) -> None:
        """Take note of the share of right answers in a step, over all processes."""
        self.recent = [*self.recent, right][-WINDOW:]

    def state(self) -> dict[str, Any]:
        """Give everything needed to go on."""
        return {
            "trained": [p.detach() for p in self.parameters],
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counts": [self.step, self.tokens, self.elapsed_s],
            "recent": self.recent,
        }

    def take(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        for parameter, saved in zip(self.parameters, state["trained"], strict=True):
            parameter.data.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.tokens, self.elapsed_s = state["counts"]
        self.recent = state["recent"]

    def save(self) -> None:
        """Write the checkpoint, and what was trained so far beside it."""
        torch.save(self.state(), self.work / "state.tmp")
        (self.work / "state.tmp").rename(self.work / "state.pt")
        self.export(self.work / "last")

    def load(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        if (self.work / "state.pt").exists():
            self.take(torch.load(self.work / "state.pt", weights_only=True))

    def train_step(self, done: float, stopping: bool) -> tuple[float, bool]:
        """Take one step.

        Args:
            done: Share of the time that is over.
            stopping: Whether this process was told to stop.

        Returns:
            The loss, and whether any process was told to stop.
        """
        self.done = done
        rise, fall = (self.step + 1) / self.warmup, (1 - done) / self.decay
        scale = min(1.0, rise) * min(1.0, max(0.03, fall))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * scale
        batch = self.next_batch()
        loss, right = self.loss_of(batch)
        loss.backward()
        now_s = time.time()
        told = [right, now_s - self._since_s, float(stopping)]
        self._since_s = now_s
        right, step_s, stopped = pair.share(self.parameters, told)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.elapsed_s += step_s
        self.tokens += (batch.context.numel() + batch.questions.numel()) * pair.count()
        self.hear(right)
        return loss.item(), stopped > 0

    def tell(self, loss: float) -> None:
        """Log where the run is."""
        mean = sum(self.recent) / max(1, len(self.recent))
        log.info(
            "step %d  loss %.3f  right %.3f  %.1f M tokens  %.0f s",
            *(self.step, loss, mean, self.tokens / 1e6, self.elapsed_s),
        )


class Climb(Run):
    """A run through the curriculum, whose next level begins when enough is answered.

    Args:
        coder: The tokenizer.
        level: Where it begins.
        mark: Share of right answers at which the next level begins.
        run: As ``Run`` takes them.
    """

    def __init__(self, *, coder: Coder, level: int, mark: float, **run: Any) -> None:
        super().__init__(**run)
        self.coder, self.level, self.mark = coder, level, mark
        self.world = World(f"train-{pair.rank()}")

    def next_batch(self) -> Batch:
        """Write new documents of the level, and questions about them."""
        # all processes take the same kind of batch, so that none waits for a longer one
        kind, gaps = random.Random(self.step).random(), 0.3 if self.level > 1 else 0.0
        level = LEVELS[self.level]
        return make_batch(self.world, self.coder, level, gaps, kind=kind, share=pair.count())

    def hear(self, right: float) -> None:
        """Begin the next level when this one is passed."""
        super().hear(right)
        passed = len(self.recent) == WINDOW and sum(self.recent) / WINDOW > self.mark
        if passed and self.level < len(LEVELS) - 1:
            self.level, self.recent = self.level + 1, []
            log.info("step %d: level %d begins", self.step, self.level)

    def state(self) -> dict[str, Any]:
        """Give everything needed to go on, the level too."""
        return {**super().state(), "level": self.level}

    def take(self, state: dict[str, Any]) -> None:
        """Go on in other worlds than before the stop, and than those of the other processes."""
        super().take(state)
        self.level, self.world = state["level"], World(f"train-{self.step}-{pair.rank()}")


def train(run: Run, out: Path, *, minutes: float, steps: int) -> None:
    """Train until the time or the steps are over, or SIGTERM comes; write the result to ``out``."""
    run.load()
    stop, first = threading.Event(), pair.rank() == 0
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    told_s = saved_s = time.time()
    stopped = False
    while run.elapsed_s < minutes * 60 and run.step < steps and not stopped:
        loss, stopped = run.train_step(run.elapsed_s / (minutes * 60), stop.is_set())
        if first and time.time() - told_s > TELL_S:
            run.tell(loss)
            told_s = time.time()
        if first and time.time() - saved_s > SAVE_S:
            run.save()
            saved_s = time.time()
    if first:
        run.save()
        run.export(out)
    signal.signal(signal.SIGTERM, before)
