"""The contract of a compression method: a chunk goes in, an ``AnchorCache`` comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig


class Method(Protocol):
    """Turns chunks into anchor caches; the same in training and inference, differentiable."""

    backbone: Backbone
    config: CompressConfig
    fingerprint: str

    def compress_chunk(self, chunk: Chunk) -> AnchorCache:
        """Compress one chunk."""
        ...

    def compress_chunks(self, chunks: Sequence[Chunk]) -> list[AnchorCache]:
        """Compress chunks of any lengths in one pass: the same numbers as one by one."""
        ...

    def task_embedding(self) -> Tensor:
        """Give the [LM] task token's embedding, (D,), that stands between anchors and prompt."""
        ...
