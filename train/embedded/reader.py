"""The decoder over training batches: read contexts, encode chunks to anchors, answer questions.

Shapes: B contexts, N questions each, Q tokens a question, C chunks, T tokens, A anchors a chunk,
S cache entries of a context, G key/value heads, K head dimension, D model dimension.
"""

from __future__ import annotations

from typing import Any

import fastlama as fl
import torch
import torch.nn.functional as F
from chunks import Chunks
from curriculum import IGNORE
from torch import Tensor
from transformers import LlamaConfig


def fast_dtype() -> torch.dtype:
    """Give the precision of matrix products that this processor computes fastest.

    With AMX bfloat16 is several times as fast as float32, without it half as fast.
    """
    return torch.bfloat16 if torch.cpu.get_capabilities().get("amx_bf16") else torch.float32


class Reader:
    """The decoder's forward pass over a batch, with compiled layers.

    Raises:
        ValueError: If the model has another head or another epsilon than the fast layers.
    """

    def __init__(self, config: LlamaConfig, *, compiled: bool) -> None:
        if not config.tie_word_embeddings or abs(config.rms_norm_eps - 1e-5) > 1e-8:
            raise ValueError(
                "the fast layers want tie_word_embeddings=True and rms_norm_eps=1e-5, found "
                f"{config.tie_word_embeddings} and {config.rms_norm_eps}; train its adapter by "
                "`python -m sac_rag.train`"
            )
        torch._dynamo.config.recompile_limit = 64
        self.layers, self.head_dim = config.num_hidden_layers, int(config.head_dim or 0)
        self.theta = float(config.rope_parameters["rope_theta"])
        wrap: Any = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.context_layer, self.question_layer = wrap(fl.context_layer), wrap(fl.question_layer)
        self.context_keys = wrap(fl.context_keys)

    def read(
        self,
        weights: dict[str, Tensor],
        context: Tensor,
        entering: list[Tensor] | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Give each layer's keys and values of contexts (B, T).

        Args:
            weights: The decoder's.
            context: Ids.
            entering: Is filled with the hidden states that enter each layer, (B, T, D).
        """
        cos, sin = self._angles(torch.arange(context.shape[1])[None])
        x = F.embedding(context, weights["model.embed_tokens.weight"])
        mask, cache = fl.causal_mask(context.shape[1]), []
        for layer in range(self.layers - 1):
            if entering is not None:
                entering.append(x)
            run = fl.context_layer_long if context.shape[1] > 1024 else self.context_layer
            x, keys, values = run(
                x, fl.layer_weights(weights, layer), cos, sin, mask, self.head_dim
            )
            cache.append((keys, values))
        last = fl.layer_weights(weights, self.layers - 1)
        keys_of = fl.context_keys if context.shape[1] > 1024 else self.context_keys
        return [*cache, keys_of(x, last, cos, sin, self.head_dim)]

    def ask(
        self,
        weights: dict[str, Tensor],
        cache: list[tuple[Tensor, Tensor]],
        seen: Tensor,
        questions: Tensor,
        start: Tensor,
        first: Tensor | None = None,
        entering: list[Tensor] | None = None,
    ) -> Tensor:
        """Give the last hidden states of questions that begin at positions ``start``.

        Args:
            weights: The decoder's.
            cache: Keys and values of each layer, (B, S, G, K): a context, or anchors.
            seen: True where the cache holds something, (B, S).
            questions: Ids, (B, N, Q).
            start: Position of each question's first token, (B,).
            first: Embedding that stands in the first token's place, (D,): the task token.
            entering: Is filled with the hidden states that enter each layer, (B, N, Q, D).
        """
        n, q = questions.shape[1:]
        positions = start[:, None, None] + torch.arange(q)[None, None].expand(1, n, q)
        cos, sin = self._angles(positions)
        mask, causal = (~seen).float() * fl.NEGATIVE, fl.causal_mask(q)
        run = fl.question_layer if seen.shape[1] > 1024 else self.question_layer
        y = F.embedding(questions, weights["model.embed_tokens.weight"])
        if first is not None:
            y = torch.cat((first.to(y.dtype).expand(*y.shape[:2], 1, -1), y[:, :, 1:]), dim=2)
        for layer, (keys, values) in enumerate(cache):
            if entering is not None:
                entering.append(y)
            w = fl.layer_weights(weights, layer)
            y = run(y, w, cos, sin, keys, values, mask, causal, self.head_dim)
        return fl.norm(y, weights["model.norm.weight"])

    def encode(
        self, weights: dict[str, Tensor], chunks: Chunks, marks: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Give each layer's keys and values of the chunks' anchors, (C, A, G, K).

        Args:
            weights: The encoder's, its LoRA merged in.
            chunks: What to read.
            marks: Anchor embedding of each slot, (slots, D).
        """
        cos, sin = self._angles(chunks.positions)
        x = F.embedding(chunks.ids, weights["model.embed_tokens.weight"])
        added = marks[: chunks.anchors.shape[1]].to(x.dtype) * chunks.present[..., None]
        x = x.scatter_add(1, chunks.anchors[..., None].expand_as(added), added)
        mask, cache = (~chunks.filled).float()[:, None, None] * fl.NEGATIVE, []
        for layer in range(self.layers - 1):
            w = fl.layer_weights(weights, layer)
            x, keys, values = self.context_layer(x, w, cos, sin, mask, self.head_dim)
            cache.append((_pick(keys, chunks.anchors), _pick(values, chunks.anchors)))
        last = fl.layer_weights(weights, self.layers - 1)
        turned = (_pick(cos, chunks.anchors), _pick(sin, chunks.anchors))
        return [*cache, self.context_keys(_pick(x, chunks.anchors), last, *turned, self.head_dim)]

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return fl.angles(positions, self.head_dim, self.theta)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Take rows (C, A) of (C, T, ...)."""
    wide = index.view(*index.shape, *[1] * (x.dim() - 2)).expand(*index.shape, *x.shape[2:])
    return x.gather(1, wide)


def grade(
    hidden: Tensor, labels: Tensor, hints: Tensor, weights: dict[str, Tensor]
) -> tuple[Tensor, float]:
    """Give the mean loss over answers and hints, and the share of answers without a wrong token.

    A place without an answer counts as none.
    """
    answers = labels != IGNORE
    wanted = answers | (hints != IGNORE)
    targets = labels.where(answers, hints)[wanted]
    logits = F.linear(hidden[wanted], weights["model.embed_tokens.weight"]).float()
    wrong = torch.zeros_like(answers)
    wrong[wanted] = logits.argmax(-1) != targets
    right = 1 - (wrong & answers).any(-1)[answers.any(-1)].float().mean().item()
    return F.cross_entropy(logits, targets), right
