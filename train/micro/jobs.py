"""Work that is cut into processes, each of which goes on where it was stopped.

A job is a command that saves as it goes, and a file that says that it is done. ``work`` does what
is not done yet, within a time: what runs then is ended, and goes on at the next call.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEAST_S = 20.0
"""Less time than this is not worth a new process."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One process of a row."""

    row: str
    """Name of the row, for messages."""
    what: str
    """Which part of it."""
    command: tuple[str, ...]
    done: Path
    """Written once the process has ended well; holds the seconds it took."""


def work(jobs: Iterable[Job], until: float, environment: Mapping[str, str] | None = None) -> str:
    """Do jobs in order.

    Args:
        jobs: What there is to do; what is done already is passed over.
        until: When time is over, in seconds since the epoch.
        environment: Of the processes; None for one's own.

    Returns:
        ``done``, ``left`` (time was over) or ``failed``.
    """
    for job in jobs:
        if job.done.is_file():
            continue
        if until - time.time() < LEAST_S:
            return "left"
        print(f"{job.row}: {job.what}", flush=True)
        code, seconds = process(job.command, until, environment)
        if code is None:
            return "left"
        if code:
            print(f"{job.row}: {job.what} ended with code {code}", flush=True)
            return "failed"
        job.done.parent.mkdir(parents=True, exist_ok=True)
        job.done.write_text(json.dumps({"seconds_of_last_call": round(seconds, 1)}) + "\n")
    return "done"


def process(
    command: Sequence[str], until: float, environment: Mapping[str, str] | None = None
) -> tuple[int | None, float]:
    """Run a process; None if its time was over first: what it saved is where it goes on.

    SIGTERM ends the process, then this one.
    """
    began = time.time()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    running = subprocess.Popen(command, env=environment)
    try:
        return running.wait(timeout=max(0.0, until - began)), time.time() - began
    except subprocess.TimeoutExpired:
        return None, time.time() - began
    finally:
        _end(running)
        signal.signal(signal.SIGTERM, before)


def _end(running: subprocess.Popen[bytes]) -> None:
    running.terminate()
    try:
        running.wait(timeout=10)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
