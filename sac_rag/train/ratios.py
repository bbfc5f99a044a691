"""Any-ratio training (beyond the paper): each step takes one of the recipe's ratios.

All micro-batches and processes of a step share it, so that a step costs everyone the same. It is
drawn from seed and step number alone: a resumed run, or one on other machines, draws the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


def ratio_of_step(ratios: Sequence[int], *, seed: int, step: int) -> int | None:
    """Draw the ratio of a step, each as likely; None where there is nothing to choose from.

    >>> [ratio_of_step([5, 15, 51], seed=0, step=step) for step in range(6)]
    [5, 51, 5, 5, 51, 5]
    """
    return random.Random(f"ratio:{seed}:{step}").choice(ratios) if ratios else None
