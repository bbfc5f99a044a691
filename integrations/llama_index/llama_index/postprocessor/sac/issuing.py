"""Handles for nodes, and what to do with a node that cannot have one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llama_index.core.schema import BaseNode
from llama_index.postprocessor.sac.nodes import document_of

from sac_rag.errors import ConfigError, SACError

if TYPE_CHECKING:
    from sac_rag import SACEngine
    from sac_rag.handles import Handle

logger = logging.getLogger(__name__)

ASYNC_BATCH = 16
"""Nodes compressed between two looks at whether the task was cancelled."""

OnError = Callable[[BaseNode, SACError], None]


def raise_error(node: BaseNode, error: SACError) -> None:
    """Let the error out."""
    raise error


def keep_original(node: BaseNode, error: SACError) -> None:
    """Let the node go to the LLM in full, and say so in the log."""
    logger.warning("node %s stays uncompressed: %s", node.node_id, error)


ON_ERROR: dict[str, OnError] = {"original": keep_original, "raise": raise_error}
"""What a postprocessor can do about an error, by name."""


def issue_handles(
    engine: SACEngine,
    nodes: Sequence[BaseNode],
    *,
    question: str | None = None,
    on_error: OnError = raise_error,
) -> list[Handle | None]:
    """Compress nodes and give their handles, in order; None for those that ``on_error`` let pass.

    Args:
        engine: Compresses, signs and stores.
        nodes: With text.
        question: From ``question_of``: what a query-aware adapter compresses for.
        on_error: Called with node and error.
    """
    if not nodes:
        return []
    try:
        return list(engine.issue([document_of(node) for node in nodes], question=question))
    except SACError as error:
        if len(nodes) == 1:
            on_error(nodes[0], error)
            return [None]
    # one of them is at fault: the others need not suffer
    return [
        issue_handles(engine, [node], question=question, on_error=on_error)[0] for node in nodes
    ]


def question_of(query: str | None, engine: SACEngine) -> str | None:
    """Give the question that nodes are compressed for; None if the adapter reads none.

    Raises:
        ConfigError: If the adapter is query-aware and there is no query.
    """
    if not engine.query_aware:
        return None
    if query is None or not query.strip():
        raise ConfigError(
            "this adapter is query-aware: it compresses nodes for one question, and none came with "
            "them; call postprocess_nodes(nodes, query_str=...), as query engines do, or use an "
            "adapter without query_aware"
        )
    return query
