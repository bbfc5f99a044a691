"""The processes that train together: which of them is the first, and how they part."""

from __future__ import annotations

import gc
import os

import torch


def is_first() -> bool:
    """Say whether this process is the first of those that a launcher started, or alone."""
    return os.environ.get("RANK", "0") == "0"


def leave_group() -> None:
    """Part from the other processes, together: one that leaves early takes the others down.

    A thread of the group that drops its last tensor while the interpreter ends aborts the process
    (pytorch#179291). What still holds the group are cycles around the trainer: without these its
    threads end here (with sharded weights, torch's own caches hold it, and they only come to rest).
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        gc.collect()
