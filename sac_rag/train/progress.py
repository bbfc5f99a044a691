"""How far a run is and how fast it goes: every log line, kept in ``history.jsonl``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

HISTORY_FILE = "history.jsonl"


class Meter:
    """Counts tokens that encoder and decoder read, and the time since it last looked.

    Args:
        total: Adds a number up over all processes; called by all of them together.
    """

    def __init__(self, total: Callable[[int], int]) -> None:
        self._total = total
        self._fresh = self._window = 0
        self._since: float | None = None
        self._begun: tuple[float, int] | None = None

    def start(self, step: int) -> None:
        """Begin to measure, at an optimiser step, unless it has begun."""
        if self._begun is None:
            self._since = time.perf_counter()
            self._begun = (self._since, step)

    def add(self, num_tokens: int) -> None:
        """Count tokens of this process."""
        self._fresh += num_tokens

    def take(self) -> int:
        """Give what all processes have read since this was last asked."""
        fresh, self._fresh = self._total(self._fresh), 0
        self._window += fresh
        return fresh

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Do something that is no training; it takes nothing from the tokens per second."""
        begun = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - begun

    def rates(self, *, step: int, steps: int) -> dict[str, float]:
        """Give tokens per second of all processes since the last call, and the seconds left.

        Args:
            step: Optimiser steps done.
            steps: Optimiser steps of the run.
        """
        if self._since is None or self._begun is None:
            return {}
        now = time.perf_counter()
        rates = {"tokens_per_second": round(self._window / max(now - self._since, 1e-9), 1)}
        self._since, self._window = now, 0
        begun, first = self._begun
        if step > first:
            rates["eta_seconds"] = round((now - begun) / (step - first) * (steps - step), 3)
        return rates


class History(TrainerCallback):
    """Writes every log line to ``history.jsonl`` of the run, the first process alone."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Drop what a stopped run logged behind the checkpoint that this one goes on from."""
        path = Path(args.output_dir) / HISTORY_FILE
        if not state.is_world_process_zero or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step(line) <= state.global_step]
        if kept != lines:
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(path)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write one line."""
        if state.is_world_process_zero and logs:
            with (Path(args.output_dir) / HISTORY_FILE).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def _step(line: str) -> float:
    """Give a line's step; a line that was cut while written belongs to no checkpoint."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
