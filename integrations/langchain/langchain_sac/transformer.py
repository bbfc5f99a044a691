"""Compress when documents are stored, so that no question waits for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from langchain_core.documents import BaseDocumentTransformer, Document
from pydantic import ConfigDict

from langchain_sac._aio import in_thread
from langchain_sac._engine import EngineUser
from langchain_sac.documents import (
    ANCHORS,
    FINGERPRINT,
    HANDLE,
    ON_ERROR,
    TOKENS,
    handles_of,
    is_compressed,
)
from sac_rag.errors import ConfigError


class SACDocumentTransformer(EngineUser, BaseDocumentTransformer):
    """Puts documents' anchors into the store and their handles into the metadata.

    The text stays, because it is what gets embedded: use it before
    ``vectorstore.add_documents``. At question time ``SACDocumentCompressor`` on the same store
    takes the handles over and encodes nothing.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    on_error: Literal["original", "raise"] = "original"
    """What becomes of a document that cannot be compressed: it stays without a handle, with a
    warning in the log, or the error is raised."""

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Give each document with its handle in ``metadata["sac_handle"]``.

        Raises:
            InvalidHandleError: If metadata holds a handle that is not this store's.
            ConfigError: If the adapter is query-aware: nobody has asked yet.
            TypeError: If an argument is not known.
        """
        _refuse_arguments(kwargs)
        return self._transform(documents)

    async def atransform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> list[Document]:
        """Do as ``transform_documents`` without blocking the event loop; cancelling stops it."""
        _refuse_arguments(kwargs)
        return await in_thread(partial(self._transform, documents))

    def _transform(
        self, documents: Sequence[Document], cancel: threading.Event | None = None
    ) -> list[Document]:
        engine = self.engine
        if engine.query_aware:
            raise ConfigError(
                "this adapter is query-aware: it compresses documents for one question, and there "
                "is none while they are stored; leave SACDocumentTransformer out and compress at "
                "question time with SACDocumentCompressor, or use an adapter without query_aware"
            )
        on_failure = ON_ERROR[self.on_error]
        handles = handles_of(documents, engine, on_failure=on_failure, cancel=cancel)
        transformed = []
        for document, handle in zip(documents, handles, strict=True):
            metadata = {**document.metadata}
            if handle is None:
                metadata.pop(HANDLE, None)
            elif not is_compressed(document):
                metadata |= {
                    HANDLE: handle.text,
                    ANCHORS: handle.num_anchors,
                    TOKENS: engine.tokens.count(document.page_content),
                    FINGERPRINT: engine.fingerprint,
                }
            transformed.append(document.model_copy(update={"metadata": metadata}))
        return transformed


def _refuse_arguments(arguments: dict[str, Any]) -> None:
    if arguments:
        raise TypeError(f"unknown argument {', '.join(sorted(arguments))}; there are none")
