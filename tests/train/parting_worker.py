"""One of two processes that run a command and part; says what is left of their group.

Usage: python -m torch.distributed.run --nproc-per-node=2 -m tests.train.parting_worker MODULE ...
"""

from __future__ import annotations

import importlib
import sys

from tests.train.processes import group_threads


def main(module: str, words: list[str]) -> int:
    """Run the command; add a line about threads to what it prints."""
    code = importlib.import_module(f"{module}.__main__").main(words)
    print(f"threads of the group: {len(group_threads())}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
