"""The laws hold with pretrained weights as they do with random ones.

Needs 93 MB of weights: ``SAC_RAG_NETWORK=1`` fetches them (``fetch.py`` says from where),
``SAC_RAG_SMOLLM2=FOLDER`` takes those that it wrote before.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag import AnchorCache, SACEngine
from sac_rag.anchor_cache import cat
from sac_rag.chunking import Chunk, split_chunks
from tests.real.fetch import fetch
from tests.test_backbone import logits_behind_anchors
from tests.test_reference import anchors_by_the_paper, merged_copy
from tests.tiny import tiny_adapter

FOLDER = os.environ.get("SAC_RAG_SMOLLM2", "")

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER and os.environ.get("SAC_RAG_NETWORK") != "1",
        reason="downloads a pretrained model; set SAC_RAG_NETWORK=1, or SAC_RAG_SMOLLM2=FOLDER",
    ),
]

HARBOUR = (
    "The harbour of Port Ellery was built in 1847 by the engineer Ada Nordholm. Before that, ships "
    "anchored in the open bay and lost their cargo in every winter storm. "
)
MILL = "The mill of Lower Wending grinds buckwheat for the valley and stands still in August. "
QUESTION = "Who built the harbour of Port Ellery?"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return Path(FOLDER) if FOLDER else fetch(tmp_path_factory.mktemp("real") / "smollm2")


@pytest.fixture(scope="module")
def plain(base):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def untrained(base):
    """SAC at 5x on the pretrained decoder, with an adapter of random weights."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return tiny_adapter(model.eval().requires_grad_(False)).method


@pytest.fixture(scope="module")
def ids(base) -> torch.Tensor:
    """1,100 tokens: two full chunks and a tail."""
    return torch.tensor(AutoTokenizer.from_pretrained(base)(HARBOUR * 20 + MILL * 20)["input_ids"])


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@torch.no_grad()
def test_at_ratio_1_without_an_adapter_it_is_the_plain_model(plain, ids):
    wanted = plain(input_ids=ids[None, :430]).logits[:, 400:]
    found = logits_behind_anchors(plain, ids[:400], ids[400:430])
    assert relative_error(found, wanted) < 1e-4


@pytest.mark.parametrize("shift", [1, 100, 3000])
@torch.no_grad()
def test_moving_equals_encoding_there(untrained, ids, shift):
    chunk = Chunk(token_ids=ids[:510])
    here = untrained.compress_chunk(chunk)
    moved = here.relocate(shift, inv_freq=untrained.backbone.inv_freq)
    there = untrained.compress_chunk(replace(chunk, start=shift))
    assert torch.equal(moved.positions, there.positions)
    assert relative_error(moved.keys, there.keys) < 1e-3
    assert relative_error(moved.values, there.values) < 1e-3


@torch.no_grad()
def test_chunks_together_equal_chunks_one_by_one(untrained, ids):
    chunks = split_chunks(ids, chunk_size=510)
    assert len(chunks) == 3
    for one, other in zip(
        untrained.compress_chunks(chunks), map(untrained.compress_chunk, chunks), strict=True
    ):
        assert torch.equal(one.positions, other.positions)
        assert relative_error(one.keys, other.keys) < 1e-4
        assert relative_error(one.values, other.values) < 1e-4


@torch.no_grad()
def test_our_anchors_are_the_papers(base, ids):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).requires_grad_(False)
    adapter = tiny_adapter(model.eval())
    keys, values, positions = anchors_by_the_paper(
        merged_copy(adapter),
        ids,
        ratio=5,
        anchor_vectors=adapter.method.anchor_embeddings,
    )
    ours = cat(adapter.method.compress_chunks(split_chunks(ids, chunk_size=510)))
    assert torch.equal(ours.positions, positions)
    assert relative_error(ours.keys, keys) < 1e-4
    assert relative_error(ours.values, values) < 1e-4


@torch.no_grad()
def test_saved_anchors_are_the_same_bits(untrained, ids):
    cache = untrained.compress_chunk(Chunk(token_ids=ids[:100]))
    again = AnchorCache.from_bytes(cache.to_bytes())
    assert torch.equal(again.keys, cache.keys)
    assert torch.equal(again.values, cache.values)


def test_the_engine_answers_from_documents_like_the_plain_model(base, plain):
    documents = [MILL * 3, HARBOUR]
    with SACEngine.from_pretrained(str(base), dtype="float32") as engine:
        full = engine.answer(QUESTION, documents, max_new_tokens=24, compress=False)
        stream = engine.stream(QUESTION, documents, max_new_tokens=24, compress=False)
        assert "".join(stream) == full.text
        alone = [
            engine.answer(ask, documents, max_new_tokens=8, compress=False).text
            for ask in (QUESTION, "When does the mill stand still?")
        ]
        together = engine.generate(
            [
                engine.request(ask, documents, compress=False)
                for ask in (QUESTION, "When does the mill stand still?")
            ],
            max_new_tokens=8,
        )
    assert "Nordholm" in full.text
    assert [one.text for one in together] == alone
