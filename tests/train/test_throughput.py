"""The benchmark compares three roads to one result."""

from __future__ import annotations

from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from sac_rag.train.passes import by_length, together
from tests.tiny import tiny_model

SCRIPT = Path(__file__).parents[2] / "train" / "reproduce" / "throughput.py"


@pytest.fixture(scope="module")
def throughput():
    spec = spec_from_file_location("throughput", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_roads_have_the_same_gradients(throughput):
    module = throughput.trained(tiny_model())
    samples = throughput.drawn(3, 40, 1200, 264)  # one and two chunks
    assert [sample.num_tokens for sample in samples] == [1200, 620, 40]
    assert throughput.difference(module, samples) < 1e-4
    rates = throughput.measure(module, samples, 1)
    assert all(rate > 0 for [rate] in rates.values())
    assert len(rates) == 3


def test_padding_is_told(throughput):
    assert throughput.padding(throughput.drawn(4, 100, 100, 264), 510, together) == 0
    half = throughput.drawn(2, 50, 100, 264)  # chunks of 50 and 25, targets of 50 and 25
    assert throughput.padding(half, 510, together) == pytest.approx(0.25)
    apart = partial(by_length, pass_tokens=0)
    assert throughput.padding(half, 510, apart) == 0
