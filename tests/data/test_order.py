"""Every sample is read once, by one process, in an order that the seed decides."""

from __future__ import annotations

import doctest
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.data import contiguous_shard, head_and_rest, order, shuffled, strided_shard
from sac_rag.errors import ConfigError


@given(num=st.integers(0, 200), world=st.integers(1, 9))
@settings(deadline=None)
def test_shards_are_a_partition(num, world):
    for shard in (contiguous_shard, strided_shard):
        parts = [shard(num, rank=rank, world=world) for rank in range(world)]
        assert sorted(index for part in parts for index in part) == list(range(num))
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


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
    with pytest.raises(ConfigError, match="rank 2"):
        strided_shard(3, rank=2, world=2)


def test_examples():
    outcome = doctest.testmod(order)
    assert (outcome.failed, outcome.attempted) == (0, 4)
