"""An independent, straight-line statement of the paper's encoder gives the same anchors.

A loop over chunks, batch 1, an explicit 4-D mask of zeros handed to the whole model, every layer's
keys and values gathered at the anchors afterwards, the LoRA merged into the weights by hand.
"""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache

from sac_rag.chunking import split_chunks
from tests.tiny import tiny_adapter, tiny_config, tiny_model


def merged_copy(adapter):
    """Give a plain model whose weights have the LoRA added by the formula W + s B A."""
    merged = copy.deepcopy(adapter.backbone.model)
    for module in merged.modules():
        if hasattr(module, "lora_A") and "default" in getattr(module, "lora_A", {}):
            update = module.lora_B["default"].weight @ module.lora_A["default"].weight
            module.base_layer.weight.data += module.scaling["default"] * update
    model = merged.get_base_model()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "base_layer"):
                setattr(parent, name, child.base_layer)
    return model


def anchors_by_the_paper(model, token_ids, *, ratio, anchor_vectors, chunk_size=510):
    """Compress a text as the paper says it, with nothing of ours."""
    keys, values, positions = [], [], []
    for start in range(0, len(token_ids), chunk_size):
        chunk = token_ids[start : start + chunk_size]
        n = len(chunk)
        first, last = start + 1, start + n
        anchor_id = first + (ratio - 1) // 2
        if anchor_id > last:
            anchor_id = first
        ids = []
        while anchor_id <= last:
            ids.append(anchor_id)
            anchor_id += ratio
        embeds = model.model.embed_tokens(chunk)[None].clone()
        for slot, anchor in enumerate(ids):
            embeds[0, anchor - 1 - start] += anchor_vectors[slot]
        cache = DynamicCache()
        model.model(
            inputs_embeds=embeds,
            attention_mask=torch.zeros(1, 1, n, n),
            position_ids=torch.arange(first, last + 1)[None],
            past_key_values=cache,
            use_cache=True,
        )
        local = torch.tensor([anchor - 1 - start for anchor in ids])
        keys.append(torch.stack([layer.keys[0][:, local] for layer in cache.layers]))
        values.append(torch.stack([layer.values[0][:, local] for layer in cache.layers]))
        positions += ids
    return torch.cat(keys, dim=2), torch.cat(values, dim=2), torch.tensor(positions)


@pytest.fixture(scope="module", params=[5, 15])
def pair(request):
    adapter = tiny_adapter(tiny_model(tiny_config()), ratio=request.param)
    return adapter, merged_copy(adapter)


@pytest.mark.parametrize("tail", [1, 2, 7, 8, 509, 510])
@torch.no_grad()
def test_our_anchors_are_the_papers(pair, tail):
    adapter, reference = pair
    ratio = adapter.config.compress.ratio
    token_ids = torch.randint(3, 264, (510 + tail,), generator=torch.Generator().manual_seed(tail))
    keys, values, positions = anchors_by_the_paper(
        reference, token_ids, ratio=ratio, anchor_vectors=adapter.method.anchor_embeddings
    )
    chunks = split_chunks(token_ids, chunk_size=510)
    ours = adapter.method.compress_chunks(chunks)
    assert torch.equal(torch.cat([cache.positions for cache in ours]), positions)
    ours_keys = torch.cat([cache.keys for cache in ours], dim=2)
    ours_values = torch.cat([cache.values for cache in ours], dim=2)
    torch.testing.assert_close(ours_keys, keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours_values, values, atol=1e-5, rtol=1e-5)
