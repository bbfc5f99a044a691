"""The clock: what is timed, in which order, and what is made of the numbers."""

from __future__ import annotations

import doctest
from functools import partial
from importlib import import_module

import pytest

from sac_rag.bench.clock import SETTLE_S, Contender, Lap, Pace, Spread, exponent, race, ratio
from sac_rag.errors import ConfigError


@pytest.mark.parametrize("name", ["clock", "plan", "report"])
def test_examples(name):
    outcome = doctest.testmod(import_module(f"sac_rag.bench.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_contenders_take_turns_and_warm_up_does_not_count():
    calls = []
    long = Lap(wall_s=SETTLE_S, cpu_s=1.0)

    def contender(name: str) -> Contender:
        return Contender(run=lambda: calls.append(name) or long, before=lambda: calls.append("-"))

    contenders = {name: contender(name) for name in "abc"}
    laps = race(contenders, Pace(repeats=3, warm_up=1, seconds=60))
    assert "".join(calls).replace("-", "") == "abc" + "abc" + "bca" + "cab"
    assert calls[::2] == ["-"] * 12
    assert {name: len(done) for name, done in laps.items()} == {"a": 3, "b": 3, "c": 3}


def test_what_takes_little_settles_before_it_is_timed():
    calls = []

    def run(name: str, wall_s: float) -> Lap:
        calls.append(name)
        return Lap(wall_s=wall_s, cpu_s=1.0)

    times = {"a": SETTLE_S, "b": SETTLE_S / 2}
    contenders = {name: Contender(run=partial(run, name, s)) for name, s in times.items()}
    laps = race(contenders, Pace(repeats=2, warm_up=1, seconds=60))
    assert "".join(calls) == "ab" + "abb" + "bba"
    assert {name: len(done) for name, done in laps.items()} == {"a": 2, "b": 2}


def test_time_that_is_up_ends_the_race_after_a_whole_round():
    laps = race(
        {name: Contender(run=lambda: sum(range(1000))) for name in "ab"},
        Pace(repeats=1000, warm_up=0, seconds=1e-9),
    )
    assert {len(done) for done in laps.values()} == {1}


def test_what_is_done_before_is_not_timed_and_a_lap_stands_for_itself():
    done = Lap(wall_s=7.0, cpu_s=3.0)
    [lap] = race({"a": Contender(run=lambda: done)}, Pace(repeats=1))["a"]
    assert lap is done


def test_a_ratio_is_taken_within_each_round():
    """A machine that is ten times slower in one round does not move it."""
    text = [Lap(wall_s=6, cpu_s=6), Lap(wall_s=60, cpu_s=6), Lap(wall_s=6, cpu_s=6)]
    ours = [Lap(wall_s=2, cpu_s=3), Lap(wall_s=20, cpu_s=3), Lap(wall_s=2, cpu_s=3)]
    assert ratio(text, ours) == Spread(median=3.0, low=3.0, high=3.0)
    assert ratio(text, ours, of="cpu_s").median == 2.0
    with pytest.raises(ValueError, match="argument 2 is"):
        ratio(text, ours[:2])


def test_powers():
    assert exponent([1000, 2000, 4000], [2, 4, 8]) == pytest.approx(1)
    assert exponent([1, 10, 100], [5, 5, 5]) == pytest.approx(0)
    assert exponent([8, 8], [1, 2]) is None


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"warm_up": -1}, {"seconds": 0}])
def test_a_pace_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigError, match="repetitions"):
        Pace(**wrong)


def test_the_median_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="0 repetitions"):
        Spread.of([])
