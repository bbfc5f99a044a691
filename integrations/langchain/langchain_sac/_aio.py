"""Blocking work from an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(run: Callable[[threading.Event], T]) -> T:
    """Run ``run(cancel)`` in a thread; cancelling the task sets ``cancel``."""
    cancel = threading.Event()
    try:
        return await asyncio.to_thread(run, cancel)
    except asyncio.CancelledError:
        cancel.set()
        raise
