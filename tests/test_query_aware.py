"""The question behind a chunk: read by the encoder, never an anchor, never moved by."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sac_rag.adapter import SACConfig
from sac_rag.anchor_cache import join
from sac_rag.chunking import Chunk
from sac_rag.errors import ConfigError, IncompatibleCacheError
from sac_rag.layout import midpoint_indices
from sac_rag.methods import EPL, SAC
from tests.tiny import tiny_adapter, tiny_model

WHO, WHERE = (70, 80, 90, 100), (33, 44, 55)


def chunk_of(length: int, **settings) -> Chunk:
    drawn = torch.randint(3, 264, (length,), generator=torch.Generator().manual_seed(length))
    return Chunk(token_ids=drawn, **settings)


@pytest.fixture(scope="module")
def method():
    return tiny_adapter(tiny_model(), query_aware=True).method


@torch.no_grad()
def test_the_question_is_read_as_if_it_went_on_from_the_chunk(method):
    """One longer chunk of which only the first part has anchors: the same numbers."""
    for length, start in ((510, 0), (23, 510), (1, 0)):
        chunk = chunk_of(length, start=start, question_ids=WHO)
        anchors = midpoint_indices(length, 5)
        longer = SAC(method.backbone, method.config, selector=lambda *_, a=anchors: a)
        longer.load_state_dict(method.state_dict())
        whole = longer.compress_chunk(replace(chunk, token_ids=chunk.read_ids, question_ids=()))
        ours = method.compress_chunk(chunk)
        assert torch.equal(ours.keys, whole.keys)
        assert torch.equal(ours.values, whole.values)
        assert torch.equal(ours.positions, whole.positions)


@torch.no_grad()
def test_anchors_stay_where_they_are_and_say_something_else(method):
    plain, who, where = (
        method.compress_chunk(chunk_of(60, question_ids=asked)) for asked in ((), WHO, WHERE)
    )
    for one in (who, where):
        assert torch.equal(one.positions, plain.positions)
        assert (one.num_tokens, one.span, len(one)) == (60, 60, len(plain))
    # the first layer's values are made before anything is read
    torch.testing.assert_close(who.values[0], plain.values[0])
    assert (who.values[1:] - plain.values[1:]).abs().amax() > 1e-3
    assert (who.values[1:] - where.values[1:]).abs().amax() > 1e-3


@torch.no_grad()
def test_under_a_causal_mask_a_question_behind_changes_nothing():
    method = tiny_adapter(tiny_model(), attention="causal").method
    plain, asked = (method.compress_chunk(chunk_of(60, question_ids=q)) for q in ((), WHO))
    torch.testing.assert_close(asked.keys, plain.keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(asked.values, plain.values, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_moved_it_is_the_same_chunk_with_the_same_question(method):
    here = method.compress_chunk(chunk_of(200, question_ids=WHO))
    there = method.compress_chunk(chunk_of(200, question_ids=WHO, start=510))
    moved = here.relocate(510, inv_freq=method.backbone.inv_freq)
    assert torch.equal(moved.positions, there.positions)
    torch.testing.assert_close(moved.keys, there.keys, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(moved.values, there.values, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_together_equals_one_by_one(method):
    chunks = [
        chunk_of(length, start=start, question_ids=asked)
        for length, start, asked in ((510, 0, WHO), (7, 510, WHERE), (2, 0, ()), (90, 0, WHO))
    ]
    for one, chunk in zip(method.compress_chunks(chunks), chunks, strict=True):
        alone = method.compress_chunk(chunk)
        torch.testing.assert_close(one.keys, alone.keys, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.values, alone.values, atol=1e-4, rtol=1e-4)
        assert one.fingerprint == alone.fingerprint == method.fingerprint_of(chunk.question_ids)


@torch.no_grad()
def test_only_caches_of_one_question_join(method):
    inv_freq = method.backbone.inv_freq
    plain, who, where = (
        method.compress_chunk(chunk_of(60, question_ids=asked)) for asked in ((), WHO, WHERE)
    )
    assert len(join([who, who], inv_freq=inv_freq)) == 2 * len(who)
    for other in (plain, where):
        with pytest.raises(IncompatibleCacheError, match="2 compressors"):
            join([who, other], inv_freq=inv_freq)


def test_only_sac_with_attention_both_ways_reads_questions(method, tmp_path):
    epl = EPL(method.backbone, replace(method.config, attention="causal"))
    with pytest.raises(ConfigError, match=r"query-aware compression is SAC's; EPL"):
        epl.compress_chunk(chunk_of(9, question_ids=WHO))
    config = tiny_adapter(tiny_model(), query_aware=True).config
    with pytest.raises(ConfigError, match="only method sac with attention bidirectional"):
        replace(config, method="epl")
    with pytest.raises(ConfigError, match="lets the anchors see it"):
        replace(config, compress=replace(config.compress, attention="causal"))
    config.save(tmp_path)
    assert SACConfig.load(tmp_path) == config
