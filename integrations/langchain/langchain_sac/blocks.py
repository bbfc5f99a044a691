"""Messages with documents in them: content blocks to texts and engine documents."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, ChatMessage

from langchain_sac.documents import (
    DocumentInput,
    Documents,
    as_engine_document,
    as_list,
    is_compressed,
    stored,
)
from sac_rag.errors import ConfigError, UnsupportedContentError

if TYPE_CHECKING:
    from sac_rag import SACEngine
    from sac_rag.engine.requests import DocumentLike

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "function": "tool"}
TEXT_BLOCKS = ("text", "text-plain", "document", "search_result", "non_standard", "sac_document")
_RANDOM_ID = "lc_"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One message as the model reads it."""

    role: str
    """As chat templates name it."""
    text: str
    """Its text blocks."""
    documents: tuple[DocumentLike, ...] = ()
    """Its document blocks, in order."""


def read_messages(
    messages: Sequence[BaseMessage], engine: SACEngine, *, tool_artifacts: bool = False
) -> list[Turn]:
    """Take messages apart into what is said and the documents that came with it.

    Calls of tools have no place in a template of texts; what a tool answered does.

    Args:
        messages: A conversation.
        engine: Verifies handles in blocks.
        tool_artifacts: Whether documents that a tool returned as its artifact are read too.

    Raises:
        UnsupportedContentError: If a block is not text: image, audio, file.
    """
    turns = []
    for index, message in enumerate(messages):
        texts: list[str] = []
        documents: list[DocumentLike] = []
        content = message.content
        for block in [content] if isinstance(content, str) else content:
            if isinstance(block, str):
                texts.append(block)
            elif block.get("type") == "text":
                texts.append(str(block.get("text", "")))
            else:
                documents.append(read_block(block, engine, place=f"message {index}"))
        if tool_artifacts:
            artifact = getattr(message, "artifact", None)
            found = artifact if isinstance(artifact, list) else []
            documents += [as_engine_document(d, engine) for d in found if isinstance(d, Document)]
        turns.append(Turn(role=_role(message), text="".join(texts), documents=tuple(documents)))
    return turns


def asked_in(turns: Sequence[Turn], engine: SACEngine) -> str:
    """Give what a conversation asks: its last human turn, without handles."""
    said = [turn.text for turn in turns if turn.role == "user"] or [turns[-1].text]
    parts = engine.resolve(said[-1])
    return "".join(part for part in parts if isinstance(part, str)).strip()


def read_block(block: Mapping[str, Any], engine: SACEngine, *, place: str) -> DocumentLike:
    """Read a document block: text-plain, document, search_result, or sac_document.

    Raises:
        UnsupportedContentError: If it is something else, or its text is not in it.
    """
    kind = block.get("type")
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return read_block(block["value"], engine, place=f"{place}, non_standard")
    if kind == "sac_document" and "handle" in block:
        return stored(str(block["handle"]), engine)
    if kind == "text-plain" and "sac_handle" in (block.get("extras") or {}):
        return stored(str(block["extras"]["sac_handle"]), engine)
    if kind not in _READERS:
        raise UnsupportedContentError(
            f"{place} holds a block of type {kind!r}; the model reads text only: give one of "
            f"{', '.join(TEXT_BLOCKS)}, or say in words what the {kind} shows"
        )
    text = _READERS[kind](block)
    if text is None:
        raise UnsupportedContentError(
            f"{place} holds a {kind!r} block without text (keys {', '.join(sorted(block))}); "
            "fetch or extract the text yourself and give it in the block"
        )
    if block.get("context"):
        text = f"{block['context']}\n{text}"
    title = block.get("title")
    return {"text": text, "title": str(title)} if title else {"text": text}


def as_block(document: DocumentInput) -> dict[str, Any]:
    """Write one of ``documents=`` as a block, the same one for the same document."""
    if isinstance(document, Document) and is_compressed(document):
        handle = {"type": "sac_document", "handle": document.page_content}
        return {"type": "non_standard", "value": handle}
    from sac_rag.engine.requests import as_segment

    given = document.page_content if isinstance(document, Document) else document
    segment = as_segment(given)
    title = getattr(segment, "title", None)
    block = {"type": "text-plain", "mime_type": "text/plain", "text": getattr(segment, "text", "")}
    return {**block, "title": title} if title else block


def prepared(
    messages: Sequence[BaseMessage],
    documents: Documents | None = None,
) -> list[BaseMessage]:
    """Put documents as blocks before what the last human message says; drop blocks' random ids.

    Raises:
        ConfigError: If there are documents and no human says anything.
    """
    messages = without_random_ids(messages)
    if documents is None:
        return messages
    place = next((i for i in reversed(range(len(messages))) if messages[i].type == "human"), None)
    if place is None:
        raise ConfigError(
            "documents= belong to a question, and no message is from a human; add a HumanMessage"
        )
    asked = messages[place]
    said: list[Any] = (
        [{"type": "text", "text": asked.content}]
        if isinstance(asked.content, str)
        else [*asked.content]
    )
    content = [*map(as_block, as_list(documents)), *said]
    changed = asked.model_copy(update={"content": content})
    return [*messages[:place], changed, *messages[place + 1 :]]


def without_random_ids(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Take the random ids off blocks: they would keep equal requests from meeting in a cache."""
    return [
        message.model_copy(update={"content": [_without_random_id(one) for one in message.content]})
        if isinstance(message.content, list)
        else message
        for message in messages
    ]


def _without_random_id(block: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(block, dict) and str(block.get("id", "")).startswith(_RANDOM_ID):
        return {name: value for name, value in block.items() if name != "id"}
    return block


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return message.role
    return ROLES.get(message.type.removesuffix("MessageChunk").lower(), message.type)


def _plain_text(block: Mapping[str, Any]) -> str | None:
    if isinstance(block.get("text"), str):
        return block["text"]
    if not isinstance(block.get("base64"), str):
        return None
    try:
        return base64.b64decode(block["base64"], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UnsupportedContentError(
            f"a text-plain block holds base64 that is not UTF-8 text ({error}); give 'text'"
        ) from error


def _source_text(block: Mapping[str, Any]) -> str | None:
    source = block.get("source")
    if not isinstance(source, Mapping):
        return None
    if source.get("type") == "text" and isinstance(source.get("data"), str):
        return source["data"]
    return _joined(source.get("content")) if source.get("type") == "content" else None


def _content_text(block: Mapping[str, Any]) -> str | None:
    return _joined(block.get("content"))


def _joined(content: Any) -> str | None:
    """Join text blocks; None if anything else is among them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [one.get("text") if isinstance(one, Mapping) else None for one in content]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None  # type: ignore[arg-type]


_READERS = {
    "text-plain": _plain_text,
    "document": _source_text,
    "search_result": _content_text,
    "sac_document": _plain_text,
}
"""Kind of block -> what finds its text, None if there is none."""
