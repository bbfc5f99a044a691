"""Intervals: the same from the same seed, around the mean, and as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from sac_rag.errors import ConfigError
from sac_rag.eval import Bootstrap

DRAW = np.random.default_rng(7)
SCORES = DRAW.random(400)


def test_the_seed_decides():
    first, again, other = (Bootstrap(seed=seed).micro(SCORES) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.value == other.value == pytest.approx(SCORES.mean())


def test_the_width_is_that_of_the_normal_theory():
    interval = Bootstrap(resamples=2000).micro(SCORES)
    half = 1.96 * SCORES.std() / np.sqrt(len(SCORES))
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)


def test_a_higher_level_is_wider():
    narrow, wide = (Bootstrap(level=level).micro(SCORES) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_macro_weighs_sets_alike_and_micro_examples():
    by_set = {"long": [1.0] * 90, "short": [0.0] * 10}
    assert Bootstrap().macro(by_set).value == 0.5
    assert Bootstrap().micro([1.0] * 90 + [0.0] * 10).value == 0.9
    # each set is resampled within itself, and these do not vary
    assert Bootstrap().macro(by_set).low == Bootstrap().macro(by_set).high == 0.5


def test_macro_of_one_set_is_its_mean():
    macro, micro = Bootstrap().macro({"one": SCORES}), Bootstrap().micro(SCORES)
    assert macro.value == pytest.approx(micro.value)
    assert macro.high - macro.low == pytest.approx(micro.high - micro.low, rel=0.2)


def test_two_methods_are_resampled_alike():
    """The interval of a constant difference is that constant."""
    better = Bootstrap().micro(SCORES + 0.25)
    worse = Bootstrap().micro(SCORES)
    assert better.low - worse.low == pytest.approx(0.25)
    assert better.high - worse.high == pytest.approx(0.25)


@pytest.mark.parametrize("scores", [[], [[1.0]]])
def test_what_is_no_row_of_scores_is_refused(scores):
    with pytest.raises(ConfigError, match="at least one"):
        Bootstrap().micro(scores)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="level"):
        Bootstrap(level=95)
    with pytest.raises(ConfigError, match="no score"):
        Bootstrap().macro({})
