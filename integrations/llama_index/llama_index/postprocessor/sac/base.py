"""The postprocessor: retrieved nodes in, the same nodes with handles for the LLM out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from llama_index.core import instrumentation as instrument
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.llms.sac.counting import HANDLE
from llama_index.llms.sac.engine_source import EngineFields
from llama_index.postprocessor.sac.events import SACCompressEndEvent, SACCompressStartEvent
from llama_index.postprocessor.sac.issuing import ASYNC_BATCH, ON_ERROR, issue_handles, question_of
from llama_index.postprocessor.sac.nodes import SACTextNode, has_text, in_full

dispatcher = instrument.get_dispatcher(__name__)  # pyright: ignore[reportPrivateImportUsage]


class SACNodePostprocessor(EngineFields, BaseNodePostprocessor):
    """Compresses retrieved nodes: the LLM reads anchors, everybody else the original text.

    Order, number, ids, scores, relationships and metadata stay. It goes last, after rerankers,
    which need the text. ``llm.as_postprocessor()`` makes one that shares model and store with the
    LLM, and that it must: handles of another store are refused. A query-aware adapter compresses
    for the query, which then must be there; its handles serve that question alone.
    """

    on_error: Literal["original", "raise"] = Field(
        default="original", description="What happens to a node that cannot be compressed."
    )
    min_tokens_to_compress: int = Field(
        default=0, ge=0, description="Shorter nodes go to the LLM as text."
    )

    @classmethod
    def class_name(cls) -> str:
        return "SACNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._reported(nodes, query_bundle) as made:
            made += self._compress(nodes, query_bundle)
        return made

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._reported(nodes, query_bundle) as made:
            for first in range(0, len(nodes), ASYNC_BATCH):
                batch = nodes[first : first + ASYNC_BATCH]
                made += await asyncio.to_thread(self._compress, batch, query_bundle)
        return made

    def _compress(
        self, nodes: Sequence[NodeWithScore], query_bundle: QueryBundle | None
    ) -> list[NodeWithScore]:
        wanted = [i for i, item in enumerate(nodes) if self._is_wanted(item)]
        query = None if query_bundle is None else query_bundle.query_str
        handles = issue_handles(
            self.engine,
            [nodes[i].node for i in wanted],
            question=question_of(query, self.engine) if wanted else None,
            on_error=ON_ERROR[self.on_error],
        )
        made = [item.model_copy(update={"node": in_full(item.node)}) for item in nodes]
        for i, handle in zip(wanted, handles, strict=True):
            if handle is not None:
                made[i].node = SACTextNode.of(nodes[i].node, llm_text=handle.text)
        return made

    def _is_wanted(self, item: NodeWithScore) -> bool:
        if not has_text(item.node) or self.min_tokens_to_compress == 0:
            return has_text(item.node)
        return self.engine.tokens.count(item.node.get_content()) >= self.min_tokens_to_compress

    @contextmanager
    def _reported(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None
    ) -> Iterator[list[NodeWithScore]]:
        """Report start and end of a compression, the old way and the new."""
        made: list[NodeWithScore] = []
        dispatcher.event(SACCompressStartEvent(num_nodes=len(nodes)))
        payload: dict[Any, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.QUERY_STR: query_bundle.query_str if query_bundle else None,
            EventPayload.MODEL_NAME: self.model,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield made
            event.on_end(payload={EventPayload.NODES: made})
        anchors = [count for item in made if (count := _anchors_of(item))]
        dispatcher.event(
            SACCompressEndEvent(
                num_nodes=len(made), num_compressed=len(anchors), num_anchors=sum(anchors)
            )
        )


def _anchors_of(item: NodeWithScore) -> int:
    """Count the anchors that stand for a node; 0 if it goes to the LLM as text."""
    match = HANDLE.fullmatch(item.node.llm_text) if isinstance(item.node, SACTextNode) else None
    return int(match["anchors"]) if match else 0
