"""Time contenders side by side: warm-up, rounds in turn, medians and spread, CPU beside wall.

Machines are shared and slow down and speed up. Contenders therefore run in turn within a round, and
a ratio is taken within each round before the median: what slows a round slows both.

What takes less than ``SETTLE_S`` runs once untimed right before each repetition. Memory that was
left alone for a while is slow at first touch where the machine is shared: behind 20 seconds of
another contender, the next question of a model of 2 GB took up to half as long again. What is timed
is a service that is in use; a longer contender settles within its own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from sac_rag.errors import ConfigError

Work = Callable[[], Any]
SETTLE_S = 2.0
"""Seconds below which a contender runs untimed before it is timed."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median and how far the repetitions lie apart."""

    median: float
    low: float
    """Lower quartile; of one or two repetitions, the lower of them."""
    high: float
    """Upper quartile; of one or two repetitions, the higher of them."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise repetitions.

        >>> Spread.of([1.0, 2.0, 3.0, 4.0, 50.0])
        Spread(median=3.0, low=2.0, high=4.0)
        >>> Spread.of([2.0, 1.0])
        Spread(median=1.5, low=1.0, high=2.0)
        """
        if not values:
            raise ConfigError("asked for the median of 0 repetitions; measure at least once")
        if len(values) < 3:
            return cls(median=median(values), low=min(values), high=max(values))
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(median=median(values), low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One repetition of one contender, in seconds."""

    wall_s: float
    cpu_s: float
    """Of all threads of this process."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something to be timed."""

    run: Work
    """What is timed. A ``Lap`` that it returns counts instead of the time of the whole call."""
    before: Work | None = None
    """Done before each repetition, outside the time: empty a store, drop a page cache."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often things are repeated."""

    repeats: int = 5
    """Rounds."""
    warm_up: int = 1
    """Rounds before them that do not count."""
    seconds: float = 60.0
    """No new round begins after so long; one round always runs."""

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.warm_up < 0 or self.seconds <= 0:
            raise ConfigError(
                f"asked for {self.repeats} repetitions after {self.warm_up} of warm-up within "
                f"{self.seconds} s; give 1 or more repetitions and a positive time"
            )


Laps = dict[str, list[Lap]]
"""By contender, one lap a round."""


def race(contenders: Mapping[str, Contender], pace: Pace, *, sync: Work | None = None) -> Laps:
    """Time contenders in turn, each round beginning with another of them.

    Args:
        contenders: By name.
        pace: How often.
        sync: Waits for the device, so that its time is counted.
    """
    names = list(contenders)
    laps: Laps = {name: [] for name in names}
    last_s = dict.fromkeys(names, SETTLE_S)
    for _ in range(pace.warm_up):
        for name in names:
            last_s[name] = time_once(contenders[name], sync=sync).wall_s
    began = time.perf_counter()
    for index in range(pace.repeats):
        if index and time.perf_counter() - began > pace.seconds:
            break
        first = index % len(names)
        for name in names[first:] + names[:first]:
            if last_s[name] < SETTLE_S:
                time_once(contenders[name], sync=sync)
            laps[name].append(time_once(contenders[name], sync=sync))
            last_s[name] = laps[name][-1].wall_s
    return laps


def time_once(contender: Contender, *, sync: Work | None = None) -> Lap:
    """Time one repetition."""
    if contender.before is not None:
        contender.before()
    if sync is not None:
        sync()
    wall, cpu = time.perf_counter(), time.process_time()
    found = contender.run()
    if sync is not None:
        sync()
    if isinstance(found, Lap):
        return found
    return Lap(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


def wall(laps: Sequence[Lap]) -> Spread:
    """Summarise the wall time of repetitions."""
    return Spread.of([lap.wall_s for lap in laps])


def cpu(laps: Sequence[Lap]) -> Spread:
    """Summarise the CPU time of repetitions."""
    return Spread.of([lap.cpu_s for lap in laps])


def work(laps: Sequence[Lap], *, on_cpu: bool) -> float:
    """Give the median seconds of work: of a CPU its own time, which others' work hardly lengthens.

    Args:
        laps: Repetitions.
        on_cpu: Whether the work is done on the CPU; of another device the wall time counts.
    """
    return (cpu(laps) if on_cpu else wall(laps)).median


def ratio(over: Sequence[Lap], under: Sequence[Lap], *, of: str = "wall_s") -> Spread:
    """Say how many times longer one takes than the other, round by round.

    >>> slow = [Lap(wall_s=8, cpu_s=4), Lap(wall_s=90, cpu_s=5)]
    >>> fast = [Lap(wall_s=2, cpu_s=1), Lap(wall_s=30, cpu_s=1)]
    >>> ratio(slow, fast).median
    3.5
    """
    pairs = zip(over, under, strict=True)
    return Spread.of([getattr(one, of) / max(getattr(other, of), 1e-9) for one, other in pairs])


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Fit the power with which a cost grows; None for fewer than two sizes.

    The slope of the least-squares line through the logarithms: 1 is linear, 2 quadratic.

    >>> exponent([1, 2, 4], [3, 12, 48])
    2.0
    """
    if len(set(sizes)) < 2:
        return None
    from math import log

    xs, ys = [log(size) for size in sizes], [log(cost) for cost in costs]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    both = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return round(both / spread, 9)
