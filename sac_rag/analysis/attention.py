"""Which anchors does the decoder look at? Attention of a prompt's tokens on anchors.

The SAC paper (arXiv:2510.08907) shows a sharp diagonal for SAC at high ratios, blurred for EPL and
500xCompressor; its protocol is not published. Here the decoder reads the compressed text once more
behind its anchors (``said_again``), so that the diagonal is where a token looks at its own place.

Shapes: L layers, H heads, Q queries (task token and prompt), A anchors, M = A + Q.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache, cat
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.errors import ConfigError, ContextOverflowError
from sac_rag.generation import Prompt, lay_out
from sac_rag.layout import midpoint_indices


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps:
    """Attention of the frozen decoder, with anchors before its prompt."""

    weights: np.ndarray
    """Who looks at whom, (L, H, Q, M): anchors first, then task token and prompt; rows sum to 1."""
    num_anchors: int
    """A."""
    query_places: np.ndarray
    """Where in the text, in tokens counted from 1, stands what each query is about, (Q,)."""
    anchor_places: np.ndarray
    """Where in the text stands what each anchor is for, (A,)."""
    reach: int
    """Tokens to both sides that count as an anchor's own place."""

    @property
    def to_anchors(self) -> np.ndarray:
        """Attention on anchors, (L, H, Q, A)."""
        return self.weights[..., : self.num_anchors]

    @property
    def mass(self) -> np.ndarray:
        """Share of all attention that goes to anchors, (L, H)."""
        return self.to_anchors.sum(-1).mean(-1)

    @property
    def diagonal(self) -> np.ndarray:
        """Share of the attention on anchors that goes to the query's own place, (L, H)."""
        own = self.is_own
        on_own = (self.to_anchors * own).sum(-1)
        return (on_own / np.maximum(self.to_anchors.sum(-1), 1e-12)).mean(-1)

    @property
    def is_own(self) -> np.ndarray:
        """Whether an anchor is of the query's own place, (Q, A)."""
        return np.abs(self.query_places[:, None] - self.anchor_places[None]) <= self.reach

    def summary(self) -> dict[str, Any]:
        """Give the shares by layer, the mean and the best of its heads, and what chance gives."""
        return {
            "anchors": self.num_anchors,
            "mass": self.mass.mean(1).tolist(),
            "diagonal": self.diagonal.mean(1).tolist(),
            "diagonal_of_best_head": self.diagonal.max(1).tolist(),
            "diagonal_by_chance": float(self.is_own.mean()),
        }


def said_again(adapter: Adapter, token_ids: Sequence[int], *, task: str = "LM") -> AttentionMaps:
    """Compress a text, and let the decoder read it again behind its anchors.

    Args:
        adapter: Any method.
        token_ids: The text as the encoder sees it.
        task: ``LM``, or ``AE`` for an adapter that was trained to say texts again.

    Raises:
        ConfigError: If the adapter reads behind a sink: a map of anchors has no place for it.
    """
    if adapter.config.sink:
        raise ConfigError(
            "asked where the decoder looks behind an adapter with a sink, which takes attention "
            "and is no anchor; give an adapter with sink=false"
        )
    chunks = split_chunks(list(token_ids), chunk_size=adapter.method.config.chunk_size)
    with torch.no_grad():
        caches = [adapter.method.compress_chunk(chunk) for chunk in chunks]
    prompt = Prompt(
        token_ids=list(token_ids)[:-1],
        anchors=cat(caches),
        task_embedding=adapter.method.task_embedding(task).detach(),
        task_at=0 if task == "AE" else None,
    )
    weights = attention_maps(adapter, prompt)
    return AttentionMaps(
        weights=weights,
        num_anchors=sum(map(len, caches)),
        query_places=np.arange(1, len(token_ids) + 1),  # of the token that each is to predict
        anchor_places=np.concatenate([_places(*pair) for pair in zip(chunks, caches, strict=True)]),
        reach=-(-adapter.method.config.ratio // 2),
    )


def attention_maps(adapter: Adapter, prompt: Prompt) -> np.ndarray:
    """Give the frozen decoder's attention of every query of a prompt, (L, H, Q, M).

    Raises:
        ContextOverflowError: If the prompt does not fit the model's window.
    """
    backbone = adapter.backbone
    if prompt.last_position >= backbone.window:
        raise ContextOverflowError(
            f"the prompt ends at position {prompt.last_position}, the model has {backbone.window}; "
            "give a shorter text",
            requested=prompt.last_position + 1,
            available=backbone.window,
        )
    layout = lay_out([prompt], backbone=backbone, pad_id=0)
    with backbone.decoding(), _eager(backbone), torch.no_grad():
        attentions = backbone.decoder(
            inputs_embeds=layout.embeds_BPD,
            attention_mask=layout.mask_BM,
            position_ids=layout.positions_BP,
            past_key_values=layout.cache,
            use_cache=True,
            output_attentions=True,
        ).attentions
    return torch.stack([one[0] for one in attentions]).float().cpu().numpy()


@contextmanager
def _eager(backbone: Backbone) -> Iterator[None]:
    """Let the model show its attention; call it inside ``decoding``, which holds the lock."""
    usual = backbone.config._attn_implementation
    backbone.causal_lm.set_attn_implementation("eager")
    try:
        yield
    finally:
        backbone.causal_lm.set_attn_implementation(usual)


def _places(chunk: Chunk, cache: AnchorCache) -> np.ndarray:
    """Where in the text an anchor's neighbourhood is; methods may position anchors elsewhere."""
    if cache.span == len(chunk):
        return cache.positions.cpu().numpy()
    ratio = -(-len(chunk) // len(cache))
    middles = midpoint_indices(len(chunk), ratio)[: len(cache)]
    return chunk.start + 1 + middles.numpy()
