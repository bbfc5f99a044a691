"""Train with one process per core: gradients meet once per step, so a busy core holds up little.

Threads of one process meet after every operation; when another program takes one of the two cores
for a moment, both stand still. Two processes of one thread each wait for each other only where they
share gradients.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """Count the processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Give this process's place among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def launch(worker: Callable[[Any], None], args: Any, *, processes: int) -> None:
    """Run ``worker(args)`` in several processes, or here when there is but one.

    SIGTERM is passed on to them.
    """
    torch.set_flush_denormal(True)
    if processes == 1:
        worker(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        members = torch.multiprocessing.spawn(
            _member, (worker, args, processes, str(meeting)), processes, join=False
        )
        told = signal.signal(signal.SIGTERM, lambda *_: [p.terminate() for p in members.processes])
        try:
            while not members.join():
                pass
        finally:
            signal.signal(signal.SIGTERM, told)


def _member(rank: int, worker: Callable[[Any], None], args: Any, size: int, meeting: str) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    worker(args)
    dist.destroy_process_group()


def share(parameters: Sequence[Tensor], numbers: Sequence[float]) -> list[float]:
    """Replace gradients, and give back numbers, by their means over the processes."""
    if count() == 1:
        return list(numbers)
    present = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([torch.tensor(list(numbers)), *(g.reshape(-1) for g in present)])
    dist.all_reduce(flat)
    flat /= count()
    start = len(numbers)
    for parameter, gradient in zip(parameters, present, strict=True):
        end = start + gradient.numel()
        parameter.grad = flat[start:end].view_as(gradient)
        start = end
    return flat[: len(numbers)].tolist()
