"""One law-book for all methods: batched = one by one, gradients, positions, moving, saving."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig
from transformers import DynamicCache

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache, cat
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.config import CompressConfig
from sac_rag.layout import num_anchors
from sac_rag.methods import METHODS
from tests.tiny import tiny_model

LENGTHS = (510, 1, 2, 7, 8, 509, 120)


def method_adapter(name: str, *, ratio: int = 15) -> Adapter:
    torch.manual_seed(1)
    attention = "bidirectional" if name == "sac" else "causal"
    adapter = Adapter.create(
        tiny_model(),
        compress=CompressConfig(ratio=ratio, attention=attention),
        lora=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        method=name,
    )
    for weight_name, weight in adapter.backbone.model.named_parameters():
        if "lora_B" in weight_name:
            torch.nn.init.normal_(weight, std=0.2)
    return Adapter(adapter.method, adapter.config)


@pytest.fixture(scope="module", params=METHODS)
def adapter(request):
    return method_adapter(request.param)


@torch.no_grad()
def test_together_equals_one_by_one(adapter):
    chunks = [
        Chunk(token_ids=torch.randint(3, 264, (length,)), start=510 * index)
        for index, length in enumerate(LENGTHS)
    ]
    for one, chunk in zip(adapter.method.compress_chunks(chunks), chunks, strict=True):
        alone = adapter.method.compress_chunk(chunk)
        assert torch.equal(one.positions, alone.positions)
        assert (one.num_tokens, one.span) == (alone.num_tokens, alone.span)
        torch.testing.assert_close(one.keys, alone.keys, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.values, alone.values, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_every_method_costs_the_same_bytes(adapter):
    for length in LENGTHS:
        cache = adapter.method.compress_chunk(Chunk(token_ids=torch.arange(3, 3 + length) % 260))
        assert len(cache) == num_anchors(length, 15)
        assert cache.num_tokens == length


@torch.no_grad()
def test_bytes_keep_the_span(adapter):
    cache = cat(
        adapter.method.compress_chunks(split_chunks(torch.arange(600) % 260, chunk_size=510))
    )
    back = AnchorCache.from_bytes(cache.to_bytes())
    assert (back.span, back.num_tokens) == (cache.span, 600)
    assert torch.equal(back.keys, cache.keys)


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same_method(adapter, tmp_path):
    adapter.save_pretrained(tmp_path)
    loaded = Adapter.from_pretrained(tmp_path, model=tiny_model())
    chunk = Chunk(token_ids=torch.arange(3, 100))
    assert type(loaded.method) is type(adapter.method)
    assert torch.equal(
        loaded.method.compress_chunk(chunk).keys, adapter.method.compress_chunk(chunk).keys
    )


def test_gradients_reach_what_is_learned(adapter):
    method = adapter.method.requires_grad_(True)
    cache = method.compress_chunk(Chunk(token_ids=torch.arange(3, 60)))
    (cache.keys.square().sum() + cache.values.square().sum()).backward()
    learned = {name: weight.grad for name, weight in method.named_parameters()}
    assert learned.pop("task_embeddings") is None  # the decoder's, not the encoder's
    for name, grad in learned.items():
        assert grad is not None, name
        assert grad.abs().sum() > 0, name
    method.zero_grad()


@torch.no_grad()
def test_epl_stands_where_sac_stands():
    epl, sac = method_adapter("epl").method, method_adapter("sac").method
    for length in LENGTHS:
        chunk = Chunk(token_ids=torch.arange(3, 3 + length) % 260, start=1020)
        ours, theirs = epl.compress_chunk(chunk), sac.compress_chunk(chunk)
        assert torch.equal(ours.positions, theirs.positions)
        assert ours.span == theirs.span == length


@torch.no_grad()
def test_epl_moves_exactly_and_500x_stays():
    chunk = Chunk(token_ids=torch.arange(3, 203))
    epl = method_adapter("epl").method
    here = epl.compress_chunk(chunk).relocate(510, inv_freq=epl.backbone.inv_freq)
    there = epl.compress_chunk(replace(chunk, start=510))
    torch.testing.assert_close(here.keys, there.keys, atol=2e-4, rtol=1e-3)
    restarted = method_adapter("500x").method
    first = restarted.compress_chunk(chunk)
    assert torch.equal(first.keys, restarted.compress_chunk(replace(chunk, start=510)).keys)
    assert first.positions[0] == 200
    assert first.span == len(first)


@torch.no_grad()
def test_icae_is_its_soft_tokens_read_by_the_frozen_decoder():
    """The cache gives the decoder what the memory's hidden states, put before a prompt, give it."""
    adapter = method_adapter("icae")
    method, base = adapter.method, tiny_model()
    chunk = Chunk(token_ids=torch.arange(3, 103))
    count = num_anchors(100, 15)
    encoder_input = torch.cat(
        [method.backbone.embed(chunk.token_ids), method.memory_embeddings[:count]]
    )[None]
    with_lora = adapter.backbone.model.get_base_model().model
    soft = with_lora(
        inputs_embeds=encoder_input, position_ids=torch.arange(100 + count)[None]
    ).last_hidden_state[:, 100:]
    question = torch.randint(3, 264, (1, 9))
    embeds = torch.cat([soft, base.model.embed_tokens(question)], dim=1)
    wanted = base(inputs_embeds=embeds).logits[:, count:]
    cache, anchors = DynamicCache(), method.compress_chunk(chunk)
    for layer in range(3):
        cache.update(anchors.keys[layer][None], anchors.values[layer][None], layer)
    found = base(
        input_ids=question,
        past_key_values=cache,
        position_ids=count + torch.arange(9)[None],
    ).logits
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
