"""In which order, and by whom, samples are read: the same on every machine."""

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


def contiguous_shard(num_samples: int, *, rank: int, world: int) -> range:
    """Give a process its run of samples (fine-tuning); sizes differ by one at most.

    >>> [contiguous_shard(5, rank=rank, world=2) for rank in (0, 1)]
    [range(0, 3), range(3, 5)]
    """
    _check(rank, world)
    size, longer = divmod(num_samples, world)
    first = rank * size + min(rank, longer)
    return range(first, first + size + (rank < longer))


def strided_shard(num_samples: int, *, rank: int, world: int) -> range:
    """Give a process every ``world``-th sample (pretraining).

    >>> list(strided_shard(5, rank=1, world=2))
    [1, 3]
    """
    _check(rank, world)
    return range(rank, num_samples, world)


def _check(rank: int, world: int) -> None:
    if not 0 <= rank < world:
        raise ConfigError(f"rank {rank} is none of {world} processes; give 0 to {world - 1}")
