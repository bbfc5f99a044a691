"""How far a mean would move with other questions: percentile bootstrap, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sac_rag.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and where it would lie."""

    value: float
    """The mean itself."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Resampling with replacement; the same settings and lengths draw the same questions.

    Two methods that were asked the same questions are therefore resampled alike, and the interval
    of their difference is that of the differences.
    """

    resamples: int = 1000
    """How many times."""
    level: float = 0.95
    """Share of resampled means between the ends."""
    seed: int = 0
    """What is drawn from."""

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.level < 1:
            raise ConfigError(
                f"asked for {self.resamples} resamples at level {self.level}; give 1 or more, and "
                "a level between 0 and 1"
            )

    def micro(self, scores: ArrayLike) -> Interval:
        """Give the mean over all examples.

        Args:
            scores: One per example, (N,).
        """
        values = _checked(scores)
        return self._interval(float(values.mean()), self._means(values, salt=0))

    def macro(self, scores_by_set: Mapping[str, ArrayLike]) -> Interval:
        """Give the mean of the sets' means, each set resampled within itself.

        Args:
            scores_by_set: Scores of each set, (N,) each.
        """
        if not scores_by_set:
            raise ConfigError("there is no score to take the mean of; ask at least one question")
        values = {name: _checked(scores) for name, scores in scores_by_set.items()}
        value = float(np.mean([one.mean() for one in values.values()]))
        # salted by name, so that sets of equal length are not resampled alike
        drawn = [self._means(one, salt=crc32(name.encode())) for name, one in values.items()]
        return self._interval(value, np.mean(drawn, axis=0))

    def _means(self, values: NDArray[np.float64], *, salt: int) -> NDArray[np.float64]:
        draw = np.random.default_rng([self.seed, salt])
        size = len(values)
        return np.array(
            [values[draw.integers(size, size=size)].mean() for _ in range(self.resamples)]
        )

    def _interval(self, value: float, means: NDArray[np.float64]) -> Interval:
        tail = 50 * (1 - self.level)
        low, high = np.percentile(means, [tail, 100 - tail])
        return Interval(value=value, low=float(low), high=float(high))


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ConfigError(
            f"scores should be a row of at least one number, found shape {values.shape}; ask at "
            "least one question"
        )
    return values
