"""The contract of a compression method: a chunk goes in, an ``AnchorCache`` comes out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import torch
from torch import Tensor, nn

from sac_rag.anchor_cache import AnchorCache
from sac_rag.attention import ATTENTION
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.layout import midpoint_indices, slots_of

TASK_TOKENS = ("AE", "LM")
"""Rows of ``task_embeddings``, in the order of the authors' released checkpoint."""


class Method(nn.Module):
    """Turns chunks into anchor caches; the same in training and inference, differentiable.

    Args:
        backbone: The base model; its LoRA, if any, is the encoder's.
        config: Ratio, chunk size and the rest.
        fingerprint: Identity of model, adapter and settings, carried by every cache.

    Raises:
        ConfigError: If the config names an unknown attention.
    """

    identity: str = ""
    """What its numbers depend on besides weights and settings: who scored the tokens."""

    def __init__(
        self, backbone: Backbone, config: CompressConfig, *, fingerprint: str = "unsaved"
    ) -> None:
        super().__init__()
        if config.attention not in ATTENTION:
            raise ConfigError(
                f"attention={config.attention!r} is not known; choose from {sorted(ATTENTION)}"
            )
        self.backbone = backbone
        self.config = config
        self.fingerprint = fingerprint
        self.task_embeddings = nn.Parameter(self.like_a_token(len(TASK_TOKENS)))

    def like_a_token(self, num_rows: int) -> Tensor:
        """Draw rows, (N, D), with mean and spread of the model's embedding table."""
        table = self.backbone.decoder.embed_tokens.weight.detach().float()
        noise = torch.randn(num_rows, self.backbone.model_dim)
        return (table.mean().cpu() + table.std().cpu() * noise).to(self.backbone.device)

    def task_embedding(self, task: str = "LM") -> Tensor:
        """Give a task token's embedding, (D,), that stands between anchors and text."""
        return self.task_embeddings[TASK_TOKENS.index(task)].to(self.backbone.dtype)

    def ratio_of(self, chunk: Chunk) -> int:
        """Give the tokens per anchor that a chunk wants.

        Raises:
            ConfigError: If the config does not serve that ratio.
        """
        return self.config.ratio if chunk.ratio is None else self.config.at(chunk.ratio).ratio

    def slots(self, chunk: Chunk) -> Tensor:
        """Give the rows of a chunk's learned vectors, (A,): by the middles of its runs."""
        return slots_of(midpoint_indices(len(chunk), self.ratio_of(chunk)), self.config.finest)

    def fingerprint_of(self, question_ids: Sequence[int] = ()) -> str:
        """Give the fingerprint of caches made with a question: its own for each question.

        The ratio is no part of it: caches of one adapter at several ratios join.
        """
        if not question_ids:
            return self.fingerprint
        return sha256(f"{self.fingerprint} {list(question_ids)}".encode()).hexdigest()

    def compress_chunk(self, chunk: Chunk) -> AnchorCache:
        """Compress one chunk."""
        return self.compress_chunks([chunk])[0]

    def compress_chunks(self, chunks: Sequence[Chunk]) -> list[AnchorCache]:
        """Compress chunks of any lengths and ratios in one pass: the same numbers as one by one.

        Raises:
            ConfigError: If a chunk wants a ratio or a question that the method does not know.
        """
        raise NotImplementedError
