"""LangChain's documents and the engine's: which text is compressed, which handle is taken over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from sac_rag.errors import (
    ConfigError,
    EngineClosedError,
    GenerationCancelledError,
    InvalidHandleError,
    SACError,
    UnsupportedContentError,
)

if TYPE_CHECKING:
    from sac_rag import SACEngine
    from sac_rag.engine import Stored
    from sac_rag.engine.requests import DocumentLike
    from sac_rag.handles import Handle

logger = logging.getLogger(__name__)

DocumentInput = str | Document | Mapping[str, str]
"""A text, LangChain's ``Document``, or ``{"text", "title"}``."""
Documents = DocumentInput | Sequence[DocumentInput]
"""What ``documents=`` takes: one, or several."""

HANDLE = "sac_handle"
TOKENS = "sac_tokens"
ANCHORS = "sac_anchors"
ORIGINAL = "sac_original"
FINGERPRINT = "sac_fingerprint"
TEXT_KEY = "page_content"
RENAMED_TEXT_KEY = "sac_meta_page_content"

OnFailure = Callable[[Document, SACError], None]
"""What is done when a document cannot be compressed: raise, or let it stay as it is."""


def let_it_stay(document: Document, error: SACError) -> None:
    """Say in the log that a document stays uncompressed, and why."""
    logger.warning("document %s stays uncompressed: %s", document.id or "without id", error)


def refuse(document: Document, error: SACError) -> None:
    """Raise the error."""
    raise error


ON_ERROR: dict[str, OnFailure] = {"original": let_it_stay, "raise": refuse}


def handles_of(
    documents: Sequence[Document],
    engine: SACEngine,
    *,
    on_failure: OnFailure,
    question: str | None = None,
    cancel: threading.Event | None = None,
) -> list[Handle | None]:
    """Give each document's handle, compressing those that have none; None where it failed.

    Args:
        documents: LangChain's, with or without a handle.
        engine: Compresses, signs and stores.
        on_failure: Told of each document that cannot be compressed.
        question: From ``question_of``: what a query-aware adapter compresses for.
        cancel: When set, compressing stops.

    Raises:
        InvalidHandleError: If metadata holds a handle that is not this store's, always.
        ConfigError: If a document was compressed for another question, always.
    """
    known = [_known(document, engine, question) for document in documents]
    missing = [one for one, handle in zip(documents, known, strict=True) if handle is None]
    made = iter(_issue(missing, engine, on_failure=on_failure, question=question, cancel=cancel))
    return [next(made) if handle is None else handle for handle in known]


def question_of(query: str, engine: SACEngine) -> str | None:
    """Give the question that documents are compressed for; None if the adapter reads none.

    Raises:
        ConfigError: If the adapter is query-aware and the query is empty.
    """
    if not engine.query_aware:
        return None
    if not query.strip():
        raise ConfigError(
            "this adapter is query-aware: it compresses documents for one question, and none came "
            "with them; call compress_documents(documents, query), or let a "
            "ContextualCompressionRetriever do so; or use an adapter without query_aware"
        )
    return query


def question_for(
    documents: Sequence[DocumentLike], engine: SACEngine, asked: Callable[[], str]
) -> str | None:
    """Give the question that texts among documents are compressed for; None if none needs it.

    Handles bring the question that they were made for.

    Args:
        documents: As the engine takes them.
        engine: Says whether its adapter reads questions.
        asked: Finds what is asked.

    Raises:
        ConfigError: If the adapter is query-aware and nothing is asked.
    """
    from sac_rag.engine import Stored

    if not engine.query_aware or all(isinstance(one, Stored) for one in documents):
        return None
    return question_of(asked(), engine)


def is_compressed(document: Document) -> bool:
    """Tell whether the compressor has put a handle where the text was."""
    return document.metadata.get(HANDLE) == document.page_content


def as_engine_document(document: Any, engine: SACEngine) -> DocumentLike:
    """Read one of ``documents=`` as the engine takes it.

    Raises:
        UnsupportedContentError: If it is of no known kind.
    """
    if isinstance(document, Document):
        if is_compressed(document):
            return stored(document.page_content, engine)
        return document.page_content
    if isinstance(document, str | Mapping):
        return document
    raise UnsupportedContentError(
        f"documents= takes texts, Documents and mappings with 'text' and perhaps 'title', got "
        f"{type(document).__name__}; give the document's text"
    )


def as_list(documents: Documents) -> list[DocumentInput]:
    """Read ``documents=``: one document, or several."""
    if isinstance(documents, str | Document | Mapping):
        return [documents]
    return list(documents)


def stored(handle: str, engine: SACEngine) -> Stored:
    """Verify a handle that stands alone.

    Raises:
        InvalidHandleError: If it is none, or not this store's.
    """
    from sac_rag.engine import Stored

    found = engine.resolve(handle) if handle else []
    if len(found) != 1 or not isinstance(found[0], Stored):
        raise InvalidHandleError(
            f"expected one whole document handle and nothing else, got {handle[:40]!r}; take it "
            f"unchanged from the metadata key {HANDLE!r}"
        )
    return found[0]


def _known(document: Document, engine: SACEngine, question: str | None) -> Handle | None:
    """Take over the handle that was made when the document was stored, if it still fits."""
    from sac_rag.handles import Handle

    text = document.metadata.get(HANDLE)
    if text is None:
        return None
    found = stored(str(text), engine)
    if is_compressed(document):
        engine.key_of(found, question=question)  # refuses one made for another question
    else:
        key = engine.key_of(document.page_content, question=question)
        if key != found.key or key not in engine.store:
            return None  # another model, a changed text, or evicted: made anew from the text
    return Handle(key=found.key, num_anchors=found.num_anchors, text=str(text))


def _issue(
    documents: list[Document],
    engine: SACEngine,
    *,
    on_failure: OnFailure,
    question: str | None,
    cancel: threading.Event | None,
) -> list[Handle | None]:
    texts = [document.page_content for document in documents]
    try:
        return list(engine.issue(texts, question=question, cancel=cancel)) if texts else []
    except (EngineClosedError, GenerationCancelledError):
        raise
    except SACError as error:
        if len(documents) == 1:
            on_failure(documents[0], error)
            return [None]
    # One of them fails: find out which, so that the others do not fail with it.
    return [
        handle
        for document in documents
        for handle in _issue(
            [document], engine, on_failure=on_failure, question=question, cancel=cancel
        )
    ]
