"""Query heads that share keys where they lie attend as transformers' own attention does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sac_rag.generation import grouped, lay_out
from sac_rag.generation.grouped import grouped_attention
from tests.generation.test_complete import method, prompts  # noqa: F401


def states(method, prompts):  # noqa: F811
    backbone = method.backbone
    with torch.inference_mode(), backbone.decoding():
        layout = lay_out(prompts, backbone=backbone, pad_id=0, room_for=4)
        return backbone.decoder(
            inputs_embeds=layout.embeds_BPD,
            attention_mask=layout.mask_BM,
            position_ids=layout.positions_BP,
            past_key_values=layout.cache,
        ).last_hidden_state


def test_grouped_attention_equals_the_librarys(method, prompts):  # noqa: F811
    wanted = states(method, prompts)
    with grouped_attention(method.backbone):
        found = states(method, prompts)
    present = lay_out(prompts, backbone=method.backbone, pad_id=0).positions_BP > 0
    torch.testing.assert_close(found[present], wanted[present], atol=1e-6, rtol=1e-5)


def test_single_tokens_attend_in_groups_as_the_librarys(method, prompts, monkeypatch):  # noqa: F811
    single = [replace(one, token_ids=one.token_ids[:1], task_embedding=None) for one in prompts]
    attend, seen = grouped.scaled_dot_product_attention, []

    def watched(query, *rest, **more):
        seen.append(query.shape[2])
        return attend(query, *rest, **more)

    monkeypatch.setattr(grouped, "scaled_dot_product_attention", watched)
    config, layers = method.backbone.config, method.backbone.num_layers
    shared = config.num_attention_heads // config.num_key_value_heads
    # alone, a row has no padding, and transformers gives no mask
    for count, rows in enumerate([single, *([one] for one in single)], start=1):
        wanted = states(method, rows)
        assert wanted.shape[1] == 1
        with grouped_attention(method.backbone):
            found = states(method, rows)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
        assert seen == [shared] * layers * count


def test_the_model_has_its_own_attention_back_whatever_happens(method):  # noqa: F811
    with grouped_attention(method.backbone):
        assert method.backbone.config._attn_implementation != "sdpa"
    with pytest.raises(KeyboardInterrupt), grouped_attention(method.backbone):
        raise KeyboardInterrupt
    assert method.backbone.config._attn_implementation == "sdpa"
    method.backbone.config._attn_implementation = "eager"
    with grouped_attention(method.backbone):
        assert method.backbone.config._attn_implementation == "eager"
    method.backbone.config._attn_implementation = "sdpa"
