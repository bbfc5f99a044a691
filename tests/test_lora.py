"""A merged LoRA encodes the same up to rounding, and leaves the frozen model as it was."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from sac_rag.adapter import Adapter
from sac_rag.chunking import split_chunks
from sac_rag.errors import UnsupportedModelError
from tests.tiny import tiny_adapter, tiny_model

CHUNKS = split_chunks(torch.arange(700) % 250 + 6, chunk_size=510)


@pytest.fixture
def adapter():
    return tiny_adapter(tiny_model())


def weights_of(adapter):
    return {name: weight.clone() for name, weight in adapter.backbone.model.named_parameters()}


@torch.no_grad()
def test_merged_anchors_are_the_same_but_for_rounding(adapter):
    apart = adapter.method.compress_chunks(CHUNKS)
    with adapter.backbone.merged():
        merged = adapter.method.compress_chunks(CHUNKS)
    for one, other in zip(merged, apart, strict=True):
        torch.testing.assert_close(one.keys, other.keys, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one.values, other.values, atol=1e-5, rtol=1e-4)
        assert not torch.equal(one.keys, other.keys)  # else nothing was merged


@pytest.mark.parametrize("trained", [False, True])
def test_decoding_leaves_frozen_what_is_frozen_and_trained_what_is_trained(adapter, trained):
    model = adapter.backbone.model
    for name, weight in model.named_parameters():
        weight.requires_grad_(trained and "lora_" in name)
    before = {name: weight.requires_grad for name, weight in model.named_parameters()}
    assert any(before.values()) == trained
    embeds_BTD = torch.randn(1, 5, adapter.backbone.model_dim, requires_grad=True)
    with adapter.backbone.decoding():
        adapter.backbone.causal_lm(inputs_embeds=embeds_BTD).logits.sum().backward()
    assert embeds_BTD.grad is not None
    assert all(weight.grad is None for weight in model.parameters())
    assert {name: weight.requires_grad for name, weight in model.named_parameters()} == before


@torch.no_grad()
def test_another_adapter_is_switched_off_as_well(adapter):
    """Also where it stands on layers that carried none when the first was switched."""
    ids, backbone = torch.arange(6, 40)[None], adapter.backbone
    with backbone.decoding():
        plain = backbone.causal_lm(input_ids=ids).logits
    backbone.model.add_adapter(
        "other", LoraConfig(target_modules=["embed_tokens"], init_lora_weights=False)
    )
    backbone.model.set_adapter("other")
    assert not torch.equal(backbone.causal_lm(input_ids=ids).logits, plain)
    with backbone.decoding():
        assert torch.equal(backbone.causal_lm(input_ids=ids).logits, plain)


@torch.no_grad()
def test_behind_it_every_bit_is_as_before(adapter):
    before, anchors = weights_of(adapter), adapter.method.compress_chunks(CHUNKS)
    with pytest.raises(KeyboardInterrupt), adapter.backbone.merged():
        raise KeyboardInterrupt
    for name, weight in weights_of(adapter).items():
        assert torch.equal(weight, before[name])
    for one, other in zip(adapter.method.compress_chunks(CHUNKS), anchors, strict=True):
        assert torch.equal(one.keys, other.keys)


@torch.no_grad()
def test_decoding_inside_is_the_frozen_model(adapter):
    ids = torch.arange(6, 40)[None]
    plain = tiny_model()(input_ids=ids).logits
    encoded = []
    with adapter.backbone.merged():
        encoded.append(adapter.method.compress_chunks(CHUNKS))
        with adapter.backbone.decoding():
            assert torch.equal(adapter.backbone.causal_lm(input_ids=ids).logits, plain)
        encoded.append(adapter.method.compress_chunks(CHUNKS))
    assert torch.equal(encoded[0][0].keys, encoded[1][0].keys)


@torch.no_grad()
def test_decoding_within_decoding_stays_frozen(adapter):
    ids = torch.arange(6, 40)[None]
    plain = tiny_model()(input_ids=ids).logits
    with adapter.backbone.decoding():
        with adapter.backbone.decoding():
            pass
        assert torch.equal(adapter.backbone.causal_lm(input_ids=ids).logits, plain)
    assert not torch.equal(adapter.backbone.causal_lm(input_ids=ids).logits, plain)


def test_without_a_lora_there_is_nothing_to_merge():
    plain = Adapter.plain(tiny_model())
    with pytest.raises(UnsupportedModelError, match="carries none"), plain.backbone.merged():
        pass
