"""Moving anchors equals encoding them there, for every RoPE type and precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sac_rag.anchor_cache import cat, join
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.config import CompressConfig
from sac_rag.methods import SAC
from tests.tiny import tiny_adapter, tiny_config, tiny_model

ROPES = {
    "default": {"rope_type": "default", "rope_theta": 10_000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 512,
    },
    "yarn": {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 1024,
    },
}


def method_for(rope: str, dtype: torch.dtype = torch.float32):
    config = tiny_config(rope_parameters=ROPES[rope], max_position_embeddings=4096)
    return tiny_adapter(tiny_model(config, dtype=dtype)).method


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


@pytest.fixture(scope="module", params=ROPES)
def rope_model(request):
    return method_for(request.param)


@pytest.mark.parametrize("shift", [1, 100, 3000])
@torch.no_grad()
def test_moving_equals_encoding_there(rope_model, shift):
    chunk = Chunk(token_ids=torch.arange(3, 203))
    here = rope_model.compress_chunk(chunk).relocate(shift, inv_freq=rope_model.backbone.inv_freq)
    there = rope_model.compress_chunk(replace(chunk, start=shift))
    assert torch.equal(here.positions, there.positions)
    # transformers takes its own angles in float32, which costs it digits with the distance
    tolerance = 2e-5 * (1 + shift / 300)
    assert relative_error(here.keys, there.keys) < tolerance
    assert relative_error(here.values, there.values) < tolerance


@pytest.mark.parametrize("rope", ROPES)
@torch.no_grad()
def test_moving_in_bfloat16_is_as_exact_as_encoding_there(rope):
    """Both roads round; moved anchors are no further from the float32 truth than encoded ones."""
    half, exact = method_for(rope, torch.bfloat16), method_for(rope)
    for rounded, full in zip(half.parameters(), exact.parameters(), strict=True):
        full.copy_(rounded)
    weights = half.backbone.model.state_dict()
    exact.backbone.model.load_state_dict(weights)
    chunk = Chunk(token_ids=torch.arange(3, 203))
    for shift in (1, 100, 3000):
        truth = exact.compress_chunk(replace(chunk, start=shift))
        moved = half.compress_chunk(chunk).relocate(shift, inv_freq=half.backbone.inv_freq)
        there = half.compress_chunk(replace(chunk, start=shift))
        assert moved.keys.dtype == torch.bfloat16
        for found, other, wanted in (
            (moved.keys, there.keys, truth.keys),
            (moved.values, there.values, truth.values),
        ):
            assert relative_error(found, wanted) < 1.25 * relative_error(other, wanted)
            assert relative_error(found, wanted) < 0.05


def test_moving_twice_equals_moving_by_the_sum(rope_model):
    inv_freq = rope_model.backbone.inv_freq
    cache = rope_model.compress_chunk(Chunk(token_ids=torch.arange(3, 60)))
    twice = cache.relocate(700, inv_freq=inv_freq).relocate(-300, inv_freq=inv_freq)
    once = cache.relocate(400, inv_freq=inv_freq)
    torch.testing.assert_close(twice.keys, once.keys, atol=2e-5, rtol=1e-4)
    assert torch.equal(twice.positions, once.positions)
    assert torch.equal(twice.values, once.values)


def test_joined_texts_stand_where_one_encoding_would_put_them(rope_model):
    inv_freq = rope_model.backbone.inv_freq
    first, second = torch.arange(3, 90), torch.arange(50, 170)
    joined = join(
        [
            cat(rope_model.compress_chunks(split_chunks(ids, chunk_size=50)))
            for ids in (first, second)
        ],
        inv_freq=inv_freq,
    )
    there = [
        rope_model.compress_chunk(replace(chunk, start=chunk.start + len(first)))
        for chunk in split_chunks(second, chunk_size=50)
    ]
    expected = cat([*rope_model.compress_chunks(split_chunks(first, chunk_size=50)), *there])
    assert joined.num_tokens == 207
    assert torch.equal(joined.positions, expected.positions)
    torch.testing.assert_close(joined.keys, expected.keys, atol=5e-4, rtol=1e-3)


def test_a_shift_of_nothing_changes_nothing(rope_model):
    cache = rope_model.compress_chunk(Chunk(token_ids=torch.arange(3, 20)))
    assert cache.relocate(0, inv_freq=rope_model.backbone.inv_freq) is cache


def test_a_causal_ratio_one_chunk_moves_too(rope_model):
    plain = SAC(
        rope_model.backbone,
        CompressConfig(ratio=1, attention="causal", anchor_embedding="none"),
    )
    chunk = Chunk(token_ids=torch.arange(3, 43))
    here = plain.compress_chunk(chunk).relocate(77, inv_freq=rope_model.backbone.inv_freq)
    there = plain.compress_chunk(replace(chunk, start=77))
    torch.testing.assert_close(here.keys, there.keys, atol=2e-4, rtol=1e-3)
