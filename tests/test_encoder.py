"""The short layers of the encoder give what whole ones give, and their gradients too."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from sac_rag.attention import ATTENTION
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.encoder import plan_pass, run_encoder, run_to_end
from sac_rag.layer_calls import call, call_replayed
from tests.test_backbone import SMALL
from tests.tiny import tiny_adapter, tiny_model

FAMILIES = {
    "llama": LlamaConfig(**SMALL),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**SMALL, head_dim=16),
}


@pytest.fixture(params=FAMILIES)
def backbone(request):
    return tiny_adapter(tiny_model(deepcopy(FAMILIES[request.param]))).backbone


def planned(backbone, *, attention: str, lengths=(60, 60)):
    """Give (embeddings, plan) of a pass over chunks of such lengths, every fifth an anchor."""
    torch.manual_seed(2)
    width = max(lengths)
    mask_BT = torch.arange(width) < torch.tensor(lengths)[:, None]
    embeds_BTD = torch.randn(len(lengths), width, 32, requires_grad=True)
    positions_BT = torch.arange(1, width + 1).expand(len(lengths), -1)
    plan = plan_pass(
        backbone.config,
        embeds_BTD,
        rotary=backbone.decoder.rotary_emb(embeds_BTD, position_ids=positions_BT),
        anchors_BA=torch.arange(2, min(lengths), 5).expand(len(lengths), -1),
        attention=ATTENTION[attention],
        mask_BT=None if mask_BT.all() else mask_BT,
    )
    assert plan.alone is not None
    return embeds_BTD, plan


def check_equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("lengths", [(60, 60), (60, 33)], ids=["full", "padded"])
def test_short_layers_equal_whole_ones(backbone, attention, lengths, implementation):
    backbone.config._attn_implementation = implementation
    embeds_BTD, plan = planned(backbone, attention=attention, lengths=lengths)
    whole = replace(plan, alone=None)
    layers = backbone.decoder.layers
    for run in (run_encoder, lambda *given: [run_to_end(*given)]):
        with torch.no_grad():
            found = run(layers, embeds_BTD, plan, call)
            check_equal(found, run(layers, embeds_BTD, whole, call))


@pytest.mark.parametrize("attention", ATTENTION)
@torch.no_grad()
def test_eager_attention_sees_what_sdpa_sees(backbone, attention):
    found = []
    for implementation in ("sdpa", "eager"):
        backbone.config._attn_implementation = implementation
        embeds_BTD, plan = planned(backbone, attention=attention, lengths=(60, 33))
        keys, values = run_encoder(backbone.decoder.layers, embeds_BTD, plan, call)
        found.append((keys, values))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("way", [call, call_replayed])
@pytest.mark.parametrize("attention", ATTENTION)
def test_gradients_of_short_layers_are_those_of_whole_ones(backbone, attention, way):
    trained = [weight for name, weight in backbone.model.named_parameters() if "lora_" in name]
    for weight in trained:
        weight.requires_grad_(True)
    embeds_BTD, plan = planned(backbone, attention=attention, lengths=(60, 33))
    gradients = []
    for chosen, how in ((plan, way), (replace(plan, alone=None), call)):
        keys, values = run_encoder(backbone.decoder.layers, embeds_BTD, chosen, how)
        loss = keys.square().mean() + values.square().mean()
        gradients.append(torch.autograd.grad(loss, [embeds_BTD, *trained], allow_unused=True))
    reached = 0
    for short, whole in zip(*gradients, strict=True):
        assert (short is None) == (whole is None)
        if short is not None:
            reached += int(short.abs().sum() > 0)
            torch.testing.assert_close(short, whole, atol=1e-6, rtol=1e-4)
    assert reached > 20


@pytest.mark.parametrize("num_layers", [1, 2])
@torch.no_grad()
def test_models_of_few_layers_are_read_too(num_layers):
    config = LlamaConfig(**{**SMALL, "num_hidden_layers": num_layers})
    backbone = tiny_adapter(tiny_model(config)).backbone
    embeds_BTD, plan = planned(backbone, attention="bidirectional")
    found = run_encoder(backbone.decoder.layers, embeds_BTD, plan, call)
    whole = replace(plan, alone=None)
    check_equal(found, run_encoder(backbone.decoder.layers, embeds_BTD, whole, call))
    assert found[0].shape[1] == num_layers


@torch.no_grad()
def test_nothing_masks_chunks_of_one_length(backbone, monkeypatch):
    """Only then may attention take its fast road; true of every layer that attends."""
    masks = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(*args, attn_mask=None, is_causal=False, **kwargs):
        masks.append((attn_mask, is_causal))
        return attend(*args, attn_mask=attn_mask, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    method = tiny_adapter(tiny_model(backbone.config)).method
    method.compress_chunks(split_chunks(torch.arange(1020) % 260, chunk_size=510))
    assert masks == [(None, False)] * 2
    method.compress_chunks([Chunk(token_ids=torch.arange(3, 3 + n)) for n in (60, 33)])
    assert len(masks) == 4
    assert all(mask is not None for mask, _ in masks[2:])
