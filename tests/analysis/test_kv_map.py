"""The same seed gives the same map; clumping tells mixed from apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sac_rag.adapter import Adapter
from sac_rag.analysis import kv_map
from sac_rag.analysis.kv_map import _clumping
from sac_rag.chunking import Chunk
from sac_rag.errors import ConfigError
from tests.analysis.conftest import ids
from tests.tiny import tiny_model


def test_every_method_has_its_map_and_the_same_one_again(adapter):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    chunks = [Chunk(token_ids=torch.tensor(ids(80)))]
    found, again = (kv_map(adapter.method, chunks, layers=[1], seed=4) for _ in range(2))
    assert found.points.shape == (1, 2, 16 + 80, 2)
    assert found.is_anchor.tolist() == [True] * 16 + [False] * 80
    assert np.isfinite(found.points).all()
    assert np.array_equal(found.points, again.points)
    assert ((found.clumping >= 0) & (found.clumping <= found.highest_clumping)).all()


def test_anchors_of_the_plain_model_are_ordinary_tokens():
    """Every token an anchor: each has a twin, so that neighbours are of both kinds alike."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    method = Adapter.plain(tiny_model()).method
    chunks = [Chunk(token_ids=torch.tensor(ids(60)), start=510)]
    found = kv_map(method, chunks, layers=[2])
    assert found.points.shape == (1, 2, 120, 2)
    assert found.clumping == pytest.approx(1.0, abs=0.15)


def test_clumping_is_one_when_mixed_and_highest_when_apart():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    points = np.random.default_rng(0).normal(size=(400, 3))
    is_anchor = np.arange(400) < 100
    assert _clumping(points, is_anchor) == pytest.approx(1.0, abs=0.1)
    points[:100] += 100
    assert _clumping(points, is_anchor) == pytest.approx(399 / 99)


def test_too_little_for_a_map_is_refused(adapter):
    with pytest.raises(ConfigError, match="too few for a map"):
        kv_map(adapter.method, [Chunk(token_ids=torch.tensor(ids(20)))])
    with pytest.raises(ConfigError, match="the model has 0 to 2"):
        kv_map(adapter.method, [Chunk(token_ids=torch.tensor(ids(80)))], layers=[3])
