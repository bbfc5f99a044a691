"""A command in two gloo processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def together(words: list[str]) -> str:
    """Run a command in two processes; give what both wrote to stdout."""
    python, *rest = words
    launch = [python, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*launch, *rest],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def parting(words: list[str]) -> str:
    """Run a command of the library as ``together`` does; no process leaves a thread of a group."""
    python, flag, module, *rest = words
    told = together([python, flag, "tests.train.parting_worker", module, *rest])
    said = [line for line in told.splitlines() if line.startswith("threads of the group")]
    assert said == ["threads of the group: 0"] * 2
    return told


def group_threads() -> list[str]:
    """Name the threads of this process that belong to a process group (on Linux; else none)."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]
