"""The released procedure, re-stated: how the authors' code encodes a text.

After the algorithm of the public code of SAC (arXiv:2510.08907), in our own words: one chunk at a
time, batch 1, a 4-D additive mask of zeros so that every token sees every other, the whole language
model with its head over all tokens and all hidden states kept, keys and values picked at the
anchors afterwards. It is what our encoder is timed against, and gives the same anchors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from sac_rag.adapter import Adapter


@torch.inference_mode()
def released_anchors(adapter: Adapter, token_ids: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Encode one text.

    Args:
        adapter: Method SAC with its uniform anchors; its LoRA stays beside the weights, as theirs.
        token_ids: All that the encoder reads, BOS and prefix included.

    Returns:
        Keys and values, (L, G, A, K) each, and positions, (A,).
    """
    backbone, compress = adapter.backbone, adapter.config.compress
    vectors = adapter.method.get_parameter("anchor_embeddings").to(backbone.dtype)
    keys, values, positions = [], [], []
    for start in range(0, len(token_ids), compress.chunk_size):
        ids_T = torch.tensor(token_ids[start : start + compress.chunk_size], device=backbone.device)
        anchors = _anchor_ids(start, len(ids_T), compress.ratio)
        local_A = torch.tensor(anchors, device=backbone.device) - 1 - start
        embeds_TD = backbone.embed(ids_T).index_add(0, local_A, vectors[: len(anchors)])
        mask = torch.zeros(1, 1, len(ids_T), len(ids_T), dtype=backbone.dtype, device=ids_T.device)
        outputs = backbone.causal_lm(
            inputs_embeds=embeds_TD[None],
            attention_mask=mask,
            position_ids=torch.arange(start + 1, start + len(ids_T) + 1, device=ids_T.device)[None],
            past_key_values=DynamicCache(config=backbone.config),
            use_cache=True,
            output_hidden_states=True,
        )
        layers = outputs.past_key_values.layers
        keys.append(torch.stack([layer.keys[0][:, local_A] for layer in layers]))
        values.append(torch.stack([layer.values[0][:, local_A] for layer in layers]))
        positions += anchors
    return torch.cat(keys, dim=2), torch.cat(values, dim=2), torch.tensor(positions)


def _anchor_ids(start: int, num_tokens: int, ratio: int) -> list[int]:
    """Give the position ids of a chunk's anchors, ids counted from 1 over the text."""
    first, end = start + 1 + (ratio - 1) // 2, start + num_tokens
    return list(range(first if first <= end else start + 1, end + 1, ratio))
