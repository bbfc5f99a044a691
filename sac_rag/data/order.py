"""In which order samples are read, and which are set apart: the same on every machine."""

from __future__ import annotations

import random

from sac_rag.errors import ConfigError


def shuffled(num_samples: int, *, seed: int) -> list[int]:
    """Shuffle indices as the authors' code shuffles records: Python's ``random``, by seed.

    >>> shuffled(5, seed=0)
    [2, 1, 0, 4, 3]
    """
    indices = list(range(num_samples))
    random.Random(seed).shuffle(indices)
    return indices


def head_and_rest(num_samples: int, *, head: int) -> tuple[range, range]:
    """Set the first samples apart: the authors evaluate pretraining on the first 1,000.

    Raises:
        ConfigError: If nothing would be left.

    >>> head_and_rest(5, head=2)
    (range(0, 2), range(2, 5))
    """
    if not 0 <= head < num_samples:
        raise ConfigError(
            f"asked to set {head} of {num_samples} samples apart, which leaves none to train on; "
            "set fewer apart, or give more data"
        )
    return range(head), range(head, num_samples)
