"""However chunks are batched, and however little memory there is, the anchors are the same."""

from __future__ import annotations

import threading

import pytest
import torch

from sac_rag import SACEngine
from sac_rag.chunking import Chunk
from sac_rag.engine.batching import FILLED, Batches
from sac_rag.errors import GenerationCancelledError

LENGTHS = [510, 3, 200, 510, 199, 140, 510, 60, 509, 510, 1]
TEXTS = [f"{number} mills stood by the river. " * (9 * number + 1) for number in range(6)]


def chunks_of(lengths):
    torch.manual_seed(3)
    return [Chunk(token_ids=torch.randint(3, 264, (length,))) for length in lengths]


def batches_of(encode, *, tokens: int):
    return Batches(encode, tokens=lambda: tokens, full=510)


def starved(engine, monkeypatch, *, most_tokens: int):
    """Let the first layer run out of memory beyond so many tokens; give what it was sent."""
    layer = engine.adapter.backbone.decoder.layers[0]
    forward, sent = layer.forward, []

    def narrow(hidden_BTD, *args, **kwargs):
        sent.append(tuple(hidden_BTD.shape[:2]))
        if hidden_BTD.shape[0] * hidden_BTD.shape[1] > most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(hidden_BTD, *args, **kwargs)

    monkeypatch.setattr(layer, "forward", narrow)
    return sent


@pytest.mark.parametrize("tokens", [1, 510, 1200, 100_000])
def test_every_chunk_is_in_one_batch_within_the_budget_and_little_is_padding(tokens):
    chunks = chunks_of(LENGTHS)
    groups = batches_of(lambda batch: [], tokens=tokens).group(chunks, range(len(chunks)))
    assert sorted(index for group in groups for index in group) == list(range(len(chunks)))
    for group in groups:
        lengths = [len(chunks[index]) for index in group]
        assert len(group) == 1 or len(group) * max(lengths) <= tokens
        assert min(lengths) >= FILLED * max(lengths)
        if 510 in lengths:
            assert set(lengths) == {510}
    if tokens == 100_000:
        assert len(groups) < len(LENGTHS) - 3


@pytest.mark.parametrize("tokens", [1, 1200, 100_000])
@torch.no_grad()
def test_bucketed_equals_one_by_one(shared_engine, tokens):
    method, chunks = shared_engine.adapter.method, chunks_of(LENGTHS)
    found = {}
    for done in batches_of(method.compress_chunks, tokens=tokens).run(chunks):
        found |= dict(zip(done.indices, done.caches, strict=True))
    for index, chunk in enumerate(chunks):
        alone = method.compress_chunk(chunk)
        assert torch.equal(found[index].positions, alone.positions)
        torch.testing.assert_close(found[index].keys, alone.keys, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found[index].values, alone.values, atol=1e-5, rtol=1e-4)


def test_halving_gives_the_same_anchors_and_is_remembered(tiny_folders, monkeypatch):
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as roomy:
        wanted = roomy.compress(TEXTS)
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        sent = starved(engine, monkeypatch, most_tokens=1100)
        found = engine.compress(TEXTS)
        assert max(rows * tokens for rows, tokens in sent) > 1100
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.keys, other.keys, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one.values, other.values, atol=1e-5, rtol=1e-4)
        assert len(engine.store) == len(TEXTS)
        sent.clear()
        engine.compress([text + "And so on." for text in TEXTS])
        assert max(rows * tokens for rows, tokens in sent) <= 1100


def test_no_memory_for_a_single_chunk_is_an_error(engine, monkeypatch):
    starved(engine, monkeypatch, most_tokens=100)
    with pytest.raises(torch.OutOfMemoryError):
        engine.compress(TEXTS)


def test_what_was_done_before_a_cancel_is_kept(engine, monkeypatch):
    cancel = threading.Event()
    layer = engine.adapter.backbone.decoder.layers[0]
    forward = layer.forward

    def watched(*args, **kwargs):
        cancel.set()
        return forward(*args, **kwargs)

    monkeypatch.setattr(layer, "forward", watched)
    with pytest.raises(GenerationCancelledError):
        engine.issue(["short", TEXTS[5]], cancel=cancel)
    monkeypatch.undo()
    cancel.clear()
    assert len(engine.store) == 0  # the first batch held full chunks of the long text alone
    short = ["a short text", "a text of more words than that one had, by far and again by far"]
    monkeypatch.setattr(layer, "forward", watched)
    with pytest.raises(GenerationCancelledError):
        engine.issue(short, cancel=cancel)
    assert len(engine.store) == 1
