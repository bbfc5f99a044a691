"""Retrieved documents to handles: what stands between a retriever and the prompt."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import Callbacks, adispatch_custom_event, dispatch_custom_event
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import ConfigDict

from langchain_sac._aio import in_thread
from langchain_sac._engine import EngineUser
from langchain_sac.documents import (
    ANCHORS,
    HANDLE,
    ON_ERROR,
    ORIGINAL,
    RENAMED_TEXT_KEY,
    TEXT_KEY,
    TOKENS,
    handles_of,
    is_compressed,
    question_of,
)
from sac_rag.handles import sanitize

if TYPE_CHECKING:
    from sac_rag import SACEngine
    from sac_rag.handles import Handle

EVENT = "sac_compress"
"""Name of the custom event that a run is told of."""


class SACDocumentCompressor(EngineUser, BaseDocumentCompressor):
    """Compresses retrieved documents and puts a handle where each text was.

    One document comes out for each that goes in, in the same order, with its id and metadata; the
    text stays reachable as ``metadata["sac_original"]``. It must be the last member of a pipeline:
    what follows sees handles. The query changes nothing, because anchors serve every question;
    only a query-aware adapter reads it, and its handles serve that question alone.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    on_error: Literal["original", "raise"] = "original"
    """What becomes of a document that cannot be compressed: its text stays, with a warning in the
    log, or the error is raised. A handle that is not this store's always raises."""

    def compress_documents(
        self, documents: Sequence[Document], query: str = "", callbacks: Callbacks = None
    ) -> list[Document]:
        """Give each document with a handle for its text; those given are not changed.

        Args:
            documents: Retrieved documents, compressed ones among them.
            query: What they are compressed for, if the adapter is query-aware; else not used.
            callbacks: Told of counts and times, when inside a run.

        Raises:
            InvalidHandleError: If metadata holds a handle that is not this store's.
            ConfigError: If the adapter is query-aware, and the query is empty, or a document was
                compressed for another.
        """
        began = time.perf_counter()
        made = self._compress(documents, query)
        with contextlib.suppress(RuntimeError):  # not inside a run: nobody to tell
            dispatch_custom_event(EVENT, _counts(made, began), config=_config(callbacks))
        return made

    async def acompress_documents(
        self, documents: Sequence[Document], query: str = "", callbacks: Callbacks = None
    ) -> list[Document]:
        """Do as ``compress_documents`` without blocking the event loop; cancelling stops it."""
        began = time.perf_counter()
        made = await in_thread(partial(self._compress, documents, query))
        with contextlib.suppress(RuntimeError):
            await adispatch_custom_event(EVENT, _counts(made, began), config=_config(callbacks))
        return made

    def as_runnable(self) -> Runnable[Sequence[Document], list[Document]]:
        """Return this as a step of a chain: ``retriever | compressor.as_runnable() | ...``.

        Such a step sees no question: a query-aware adapter needs ``compress_documents``.
        """

        def compress(documents: Sequence[Document]) -> list[Document]:
            return self.compress_documents(documents)

        async def acompress(documents: Sequence[Document]) -> list[Document]:
            return await self.acompress_documents(documents)

        return RunnableLambda(compress, acompress, name="SACDocumentCompressor")

    def _compress(
        self, documents: Sequence[Document], query: str, cancel: threading.Event | None = None
    ) -> list[Document]:
        engine = self.engine
        handles = handles_of(
            documents,
            engine,
            on_failure=ON_ERROR[self.on_error],
            question=question_of(query, engine),
            cancel=cancel,
        )
        return [
            _with_handle(document, handle, engine)
            for document, handle in zip(documents, handles, strict=True)
        ]


def _with_handle(document: Document, handle: Handle | None, engine: SACEngine) -> Document:
    metadata = {**document.metadata}
    if TEXT_KEY in metadata:
        # format_document lets this key stand for the text: whoever writes metadata would
        # thereby put text into the prompt.
        metadata[RENAMED_TEXT_KEY] = metadata.pop(TEXT_KEY)
    if handle is None:
        # The text goes into the prompt, where handles are read: those in it must be inert.
        text = sanitize(document.page_content)
    elif is_compressed(document):
        text = handle.text
    else:
        text = handle.text
        metadata |= {
            HANDLE: handle.text,
            TOKENS: engine.tokens.count(document.page_content),
            ANCHORS: handle.num_anchors,
            ORIGINAL: document.page_content,
        }
    return document.model_copy(update={"page_content": text, "metadata": metadata})


def _counts(documents: list[Document], began: float) -> dict[str, Any]:
    compressed = [one for one in documents if is_compressed(one)]
    return {
        "documents": len(documents),
        "compressed": len(compressed),
        "tokens": sum(one.metadata.get(TOKENS, 0) for one in compressed),
        "anchors": sum(one.metadata.get(ANCHORS, 0) for one in compressed),
        "seconds": time.perf_counter() - began,
    }


def _config(callbacks: Callbacks) -> Any:
    return {"callbacks": callbacks} if callbacks else None
