"""Content blocks of a message: texts to read, documents to compress, the rest refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, DocumentBlock

from sac_rag.errors import UnsupportedContentError

UNTITLED = "input_document"
"""The title that LlamaIndex gives to documents without one."""
NO_PROMPT_TEXT = ("cache", "thinking")
"""Blocks that are left out: they say nothing to the model."""
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-yaml")


def texts_and_documents(message: ChatMessage) -> Iterator[str | dict[str, str]]:
    """Give a message's texts as strings and its documents as ``{"text", "title"}``, in order.

    Raises:
        UnsupportedContentError: If a block is neither text nor a text document.
    """
    for block in message.blocks:
        yield from _read(block)


def _read(block: Any) -> Iterator[str | dict[str, str]]:
    # by name: the older versions that are supported lack some of the classes
    kind = block.block_type
    if kind == "text":
        yield block.text
    elif kind == "document":
        yield _document(_text_of(block), block.title)
    elif kind == "citable":
        yield _document("\n".join(_texts(block.content)), block.title)
    elif kind == "citation":
        yield from _read(block.cited_content)
    elif kind not in NO_PROMPT_TEXT:
        raise UnsupportedContentError(
            f"a message holds a block of type {kind!r}, and this model reads text and text "
            "documents; turn it into text first"
        )


def _texts(blocks: Sequence[Any]) -> Iterator[str]:
    for block in blocks:
        for part in _read(block):
            yield part if isinstance(part, str) else part["text"]


def _document(text: str, title: str | None) -> dict[str, str]:
    if title in (None, "", UNTITLED):
        return {"text": text}
    return {"text": text, "title": str(title)}


def _text_of(block: DocumentBlock) -> str:
    name = f"the document {block.title!r}"
    if block.url and not str(block.url).startswith("data:") and block.data is None:
        raise UnsupportedContentError(
            f"{name} is given by its address {block.url}, and nothing is downloaded here; "
            "fetch it and give its text as data"
        )
    kind = block.document_mimetype or "text/plain"
    try:
        if kind.startswith(TEXT_TYPES):
            return block.resolve_document().read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsupportedContentError(
            f"{name} is not UTF-8 text ({error}); turn it into text first"
        ) from error
    raise UnsupportedContentError(
        f"{name} is of type {kind}, and this model reads text; turn it into text first, with a "
        "LlamaIndex reader for example"
    )
