"""Every supported family is read rightly; every other is refused with a reason."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from sac_rag.adapter import Adapter
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.errors import UnsupportedModelError
from sac_rag.generation import GenerationParams, Prompt, complete, lay_out
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer, tiny_adapter, tiny_config, tiny_model

SMALL = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
FAMILIES = {
    "llama": LlamaConfig(**SMALL),
    "llama-bias-wide-head": LlamaConfig(**SMALL, attention_bias=True, head_dim=16),
    "mistral": MistralConfig(**SMALL, sliding_window=None),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**SMALL, head_dim=16),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return tiny_model(FAMILIES[request.param])


def logits_behind_anchors(model, context, question):
    """Give the logits of question tokens (Q,) behind a context (T,) whose every token is an anchor.

    The adapter is off. (1, Q, V).
    """
    method = Adapter.plain(model).method
    anchors = method.compress_chunk(Chunk(token_ids=context))
    prompt = Prompt(token_ids=question.tolist(), anchors=anchors)
    layout = lay_out([prompt], backbone=method.backbone, pad_id=0)
    hidden = method.backbone.decoder(
        inputs_embeds=layout.embeds_BPD,
        attention_mask=layout.mask_BM,
        position_ids=layout.positions_BP,
        past_key_values=layout.cache,
    ).last_hidden_state
    return model.lm_head(hidden)


@torch.no_grad()
def test_ratio_one_causal_without_adapter_is_the_plain_model(family):
    """Every token an anchor, causal, adapter off: the decoder's own prefix cache."""
    context, question = torch.randint(3, 264, (23,)), torch.randint(3, 264, (6,))
    ours = logits_behind_anchors(family, context, question)
    plain = family(input_ids=torch.cat([context, question])[None]).logits[:, 23:]
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_last_layers_shortcut_gives_what_the_whole_model_gives(family):
    """Keys and values of an untouched causal encode are those that the model itself caches."""
    method = Adapter.plain(family).method
    context = torch.randint(3, 264, (23,))
    anchors = method.compress_chunk(Chunk(token_ids=context))
    cached = family(
        input_ids=context[None], position_ids=torch.arange(1, 24)[None], use_cache=True
    ).past_key_values
    for layer, (keys, values) in enumerate(zip(anchors.keys, anchors.values, strict=True)):
        torch.testing.assert_close(keys, cached.layers[layer].keys[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(values, cached.layers[layer].values[0], atol=1e-5, rtol=1e-5)


def test_greedy_decoding_equals_the_plain_models(family):
    tokens = Tokens(byte_tokenizer())
    context, question = torch.randint(6, 264, (30,)), torch.randint(6, 264, (5,))
    method = Adapter.plain(family).method
    with torch.inference_mode():
        anchors = method.compress_chunk(Chunk(token_ids=context))
    params = GenerationParams(max_new_tokens=12)
    ours = complete(
        [Prompt(token_ids=question.tolist(), anchors=anchors)],
        backbone=method.backbone,
        tokens=tokens,
        params=params,
    )[0]
    plain = family.generate(
        torch.cat([context, question])[None],
        generation_config=params.to_config(eos_ids=tokens.eos_ids, pad_id=tokens.pad_id),
    )[0, 35:]
    assert ours.token_ids == plain.tolist()[: len(ours.token_ids)]


def refused(config, match):
    with pytest.raises(UnsupportedModelError, match=match):
        Backbone(AutoModelForCausalLM.from_config(config))


def test_other_architectures_are_refused():
    refused(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=50), "gpt2")
    refused(Gemma2Config(**{**SMALL, "head_dim": 8}), "gemma2")


def test_sliding_windows_are_refused_by_layer():
    refused(MistralConfig(**SMALL, sliding_window=64), "layer 0 .*sliding window of 64")
    refused(
        Qwen2Config(**SMALL, use_sliding_window=True, max_window_layers=1, sliding_window=64),
        "layer 1 is 'sliding_attention'",
    )


@pytest.mark.parametrize("rope_type", ["dynamic", "longrope"])
def test_rope_that_changes_with_length_is_refused(rope_type):
    rope = {"rope_type": rope_type, "rope_theta": 1e4, "factor": 2.0}
    if rope_type == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
        rope["original_max_position_embeddings"] = 256
    refused(tiny_config(rope_parameters=rope), rope_type)


def test_rounded_rope_frequencies_are_refused():
    with pytest.raises(UnsupportedModelError, match="load it with dtype="):
        Backbone(tiny_model().to(torch.bfloat16))


@torch.no_grad()
def test_decoding_leaves_the_lora_as_it_was():
    adapter = tiny_adapter(tiny_model())
    chunk = Chunk(token_ids=torch.arange(3, 60))
    before = adapter.method.compress_chunk(chunk)
    with adapter.backbone.decoding():
        inside = adapter.backbone.causal_lm(input_ids=chunk.token_ids[None]).logits
    after = adapter.method.compress_chunk(chunk)
    plain = tiny_model()(input_ids=chunk.token_ids[None]).logits
    assert torch.equal(before.keys, after.keys)
    torch.testing.assert_close(inside, plain, atol=1e-5, rtol=1e-5)


def test_gradients_reach_lora_and_embeddings_but_not_the_base():
    adapter = tiny_adapter(tiny_model())
    trained = {
        name: weight
        for name, weight in adapter.backbone.model.named_parameters()
        if "lora_" in name
    }
    for weight in (*trained.values(), *adapter.method.parameters()):
        weight.requires_grad_(True)
    cache = adapter.method.compress_chunk(Chunk(token_ids=torch.arange(3, 60)))
    (cache.keys.square().sum() + cache.values.square().sum()).backward()
    # the last layer only gives keys and values: what comes behind them there is never run
    idle = [name for name, weight in trained.items() if weight.grad is None]
    assert idle
    assert all(".layers.2." in name for name in idle)
    assert not any(f".{kind}_proj" in name for name in idle for kind in "kv")
    assert adapter.method.anchor_embeddings.grad is not None
    base = [
        weight.grad
        for name, weight in adapter.backbone.model.named_parameters()
        if "lora_" not in name
    ]
    assert base
    assert all(grad is None for grad in base)
