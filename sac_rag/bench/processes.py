"""Many processes that read one store at once: a light child that loads no torch."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sac_rag.store import open_store
from sac_rag.store.anchors import ANCHORS

WAIT_S = 300.0
"""A child that is not ready after so long has failed."""


def gets_per_second(folder: Path, keys: Sequence[str], *, processes: int, operations: int) -> float:
    """Read entries from several processes together; give how many were read per second.

    Time runs from the moment that all of them are ready to that when the last is done.

    Args:
        folder: The store.
        keys: What is read, in turn.
        processes: How many.
        operations: Reads of all together.
    """
    # not fork: a child of a process that has used torch's threads may hang
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    times: Any = context.Queue()
    each = -(-operations // processes)
    children = [
        context.Process(target=_read, args=(str(folder), list(keys), each, ready, times))
        for _ in range(processes)
    ]
    for child in children:
        child.start()
    spans = [times.get(timeout=WAIT_S) for _ in children]
    for child in children:
        child.join()
    took = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return processes * each / took


def _read(folder: str, keys: list[str], operations: int, ready: Any, times: Any) -> None:
    with open_store(folder) as store:
        ready.wait(WAIT_S)
        began = time.monotonic()
        for number in range(operations):
            [blob] = store.backend.mget([ANCHORS + keys[number % len(keys)]])
            assert blob is not None
        times.put((began, time.monotonic()))
