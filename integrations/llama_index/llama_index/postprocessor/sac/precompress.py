"""The ingestion step: documents are compressed once, before anybody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.llms.sac.engine_source import EngineFields
from llama_index.postprocessor.sac.issuing import ASYNC_BATCH, issue_handles
from llama_index.postprocessor.sac.nodes import has_text

from sac_rag.errors import ConfigError

HANDLE_KEY = "sac_handle"
"""Metadata key of a node's handle; neither embedded nor shown to the LLM."""


class SACPrecompress(EngineFields, TransformComponent):
    """Writes the anchors of nodes into the store while they are ingested; goes after the splitter.

    Its fields are part of an ``IngestionPipeline``'s cache key, so another model, adapter or ratio
    runs again. A cache hit runs nothing; anchors that are gone by then are made at query time.
    """

    _travelled: bool = PrivateAttr(default=False)

    @classmethod
    def class_name(cls) -> str:
        return "SACPrecompress"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Compress nodes; gives copies with their handle in the metadata.

        Raises:
            ConfigError: If it runs in a worker process with a store that only lives there, or the
                adapter is query-aware: nobody has asked yet.
            SACError: If a node cannot be compressed or stored.
        """
        if self._travelled and self.store is None:
            raise ConfigError(
                "SACPrecompress runs in a worker process with a store in memory, which nobody else "
                "would see; give store= a folder, or leave num_workers out"
            )
        if self.engine.query_aware:
            raise ConfigError(
                "this adapter is query-aware: it compresses nodes for one question, and there is "
                "none while they are ingested; leave SACPrecompress out and compress at question "
                "time with as_postprocessor(), or use an adapter without query_aware"
            )
        made = list(nodes)
        wanted = [i for i, node in enumerate(nodes) if has_text(node)]
        handles = issue_handles(self.engine, [nodes[i] for i in wanted])
        for i, handle in zip(wanted, handles, strict=True):
            if handle is not None:
                made[i] = _with_handle(nodes[i], handle.text)
        return made

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Compress nodes without blocking the event loop."""
        made: list[BaseNode] = []
        for first in range(0, len(nodes), ASYNC_BATCH):
            made += await asyncio.to_thread(self.__call__, nodes[first : first + ASYNC_BATCH])
        return made

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._travelled = True


def _with_handle(node: BaseNode, handle: str) -> BaseNode:
    changes: dict[str, Any] = {"metadata": {**node.metadata, HANDLE_KEY: handle}}
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        keys = getattr(node, name)
        changes[name] = keys if HANDLE_KEY in keys else [*keys, HANDLE_KEY]
    return node.model_copy(update=changes)
