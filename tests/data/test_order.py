"""Every sample is read once, in an order that the seed decides."""

from __future__ import annotations

import doctest
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.data import head_and_rest, order, shuffled
from sac_rag.errors import ConfigError


@given(num=st.integers(0, 200), seed=st.integers())
@settings(deadline=None)
def test_indices_shuffle_as_records_do(num, seed):
    records = [f"record {index}" for index in range(num)]
    by_index = [records[index] for index in shuffled(num, seed=seed)]
    random.Random(seed).shuffle(records)
    assert by_index == records


def test_what_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match="leaves none"):
        head_and_rest(3, head=3)


def test_examples():
    outcome = doctest.testmod(order)
    assert (outcome.failed, outcome.attempted) == (0, 2)
