"""The processes that train together: which of them is the first, and how they part."""

from __future__ import annotations

import os

import torch


def is_first() -> bool:
    """Say whether this process is the first of those that a launcher started, or alone."""
    return os.environ.get("RANK", "0") == "0"


def leave_group() -> None:
    """Part from the other processes, together: one that leaves early takes the others down."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
