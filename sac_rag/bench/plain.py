"""The frozen model without us: plain prefill, and answering from any kept keys and values.

Every rival that keeps keys and values is asked through ``PlainModel.answer``, so that what differs
between them is what they kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from sac_rag.backbone import Backbone


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """What a method kept of a context."""

    cache: DynamicCache
    """Keys and values, (1, G, A, K) a layer."""
    next_position: int
    """Position id of the first token behind the context."""

    @property
    def nbytes(self) -> int:
        """Bytes that the kept tensors really take, whatever a method says it dropped."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)  # type: ignore[union-attr]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Give keys and values of all layers, (L, G, A, K) each."""
        layers = self.cache.layers
        return (
            torch.cat([layer.keys for layer in layers]),  # type: ignore[misc]
            torch.cat([layer.values for layer in layers]),  # type: ignore[misc]
        )

    @property
    def length(self) -> int:
        """Places in the cache."""
        return int(self.cache.layers[0].keys.shape[2]) if self.cache.layers else 0  # type: ignore[union-attr]


class PlainModel:
    """The base model with the LoRA off, used as transformers' documentation uses one.

    Args:
        backbone: The model.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.model = backbone.causal_lm

    def empty(self) -> Kept:
        """Keep nothing."""
        return Kept(cache=DynamicCache(config=self.backbone.config), next_position=0)

    @torch.inference_mode()
    def prefill(self, token_ids: Sequence[int]) -> Kept:
        """Read tokens causally and keep all of them; the LM head sees the last token alone."""
        kept = self.empty()
        with self.backbone.decoding():
            self.model(
                input_ids=torch.tensor([token_ids], device=self.backbone.device),
                past_key_values=kept.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return Kept(cache=kept.cache, next_position=len(token_ids))

    @torch.inference_mode()
    def answer(
        self,
        kept: Kept,
        question_ids: Sequence[int],
        *,
        max_new_tokens: int,
        eos_ids: Sequence[int],
    ) -> list[int]:
        """Read a question behind what was kept and answer greedily; the cache grows by both."""
        found: list[int] = []
        ids = list(question_ids)
        position = kept.next_position
        with self.backbone.decoding():
            while len(found) < max_new_tokens and (not found or found[-1] not in eos_ids):
                logits_V = self.step(kept, ids, position)
                position += len(ids)
                ids = [int(logits_V.argmax())]
                found += ids
        return found

    def step(self, kept: Kept, token_ids: Sequence[int], position: int) -> Tensor:
        """Read tokens that begin at a position; give the logits behind the last, (V,)."""
        ids_1T = torch.tensor([token_ids], device=self.backbone.device)
        return self.step_rows(kept.cache, ids_1T, position)[0]

    def step_rows(self, cache: DynamicCache, ids_NT: Tensor, position: int) -> Tensor:
        """Read rows of tokens that begin at one position; give the logits behind them, (N, V)."""
        rows, count = ids_NT.shape
        length, device = cache.get_seq_length() + count, ids_NT.device
        outputs = self.model(
            input_ids=ids_NT,
            # a mask of ones, or transformers reads a jump in the positions as two packed texts
            attention_mask=torch.ones(rows, length, dtype=torch.int64, device=device),
            position_ids=torch.arange(position, position + count, device=device).expand(rows, -1),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return outputs.logits[:, -1]
