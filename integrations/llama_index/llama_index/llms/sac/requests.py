"""Prompts and messages to requests: handles and documents out, the rest as text."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.llms.sac.blocks import texts_and_documents
from llama_index.llms.sac.templates import FORMATTED

from sac_rag.errors import EmptyInputError
from sac_rag.handles import sanitize

if TYPE_CHECKING:
    from sac_rag import Request, SACEngine
    from sac_rag.tokens import Tokens

Turn = dict[str, str]
"""A message as chat templates read it: role and content."""

ROLES = {
    MessageRole.DEVELOPER: "system",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.FUNCTION: "tool",
}
"""LlamaIndex' names for roles, where chat templates have another."""


def prompt_request(engine: SACEngine, prompt: str, *, rendered: bool) -> Request:
    """Read a prompt with handles as it stands.

    Args:
        engine: Verifies handles.
        prompt: The text.
        rendered: Whether a chat template wrote it, so that its special tokens count as such.

    Raises:
        InvalidHandleError: If a handle is broken or forged.
        EmptyInputError: If there is no text beside documents.
    """
    from sac_rag.engine import ChatText, Request

    parts = _without_gaps(engine.resolve(prompt))
    _check_text([part for part in parts if isinstance(part, str)])
    if rendered:
        parts = [ChatText(text=part) if isinstance(part, str) else part for part in parts]
    return Request(segments=parts)


def chat_request(
    engine: SACEngine,
    messages: Sequence[ChatMessage],
    *,
    write: Callable[[list[Turn]], list[Any]],
) -> Request:
    """Read messages: documents and handles stand first, the rest is written as text.

    Args:
        engine: Verifies handles.
        messages: The conversation.
        write: Writes turns as segments: ``by_template`` or ``by_function``.

    Raises:
        InvalidHandleError: If a handle is broken or forged.
        UnsupportedContentError: If a message holds an image, sound, video or tool call.
        EmptyInputError: If no message holds text.
    """
    from sac_rag.engine import Request

    conversation = _Conversation(engine)
    for message in messages:
        conversation.add(message)
    turns, documents = conversation.turns, list(conversation.documents.values())
    _check_text([turn["content"] for turn in turns])
    formatted = any(message.additional_kwargs.get(FORMATTED) for message in messages)
    text = ["\n\n".join(turn["content"] for turn in turns)] if formatted else write(turns)
    return Request(segments=[*documents, *text], question=conversation.question())


def by_template(turns: list[Turn], *, tokens: Tokens) -> list[Any]:
    """Write turns by the chat template; special tokens inside what people wrote stay text."""
    from sac_rag.engine import ChatText

    texts = [turn["content"] for turn in turns]
    if all(tokens.encode(text) == tokens.encode_template(text) for text in texts):
        return [ChatText(text=tokens.render_chat(turns))]
    mark = secrets.token_hex(8)
    marked = [{**turn, "content": f"{mark}x{i}x"} for i, turn in enumerate(turns)]
    pieces = re.split(f"{mark}x([0-9]+)x", tokens.render_chat(marked))
    return [
        texts[int(piece)] if i % 2 else ChatText(text=piece)
        for i, piece in enumerate(pieces)
        if piece
    ]


def by_function(
    turns: list[Turn], *, to_prompt: Callable[[Sequence[ChatMessage]], str], rendered: bool
) -> list[Any]:
    """Write turns by a function of the user, or LlamaIndex' own.

    Args:
        turns: The conversation's text.
        to_prompt: Writes messages as one text.
        rendered: Whether special tokens in it count as such.
    """
    from sac_rag.engine import ChatText

    text = to_prompt([ChatMessage(role=turn["role"], content=turn["content"]) for turn in turns])
    return [ChatText(text=text) if rendered else text]


@dataclass
class _Conversation:
    engine: SACEngine
    documents: dict[Any, Any] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)

    def add(self, message: ChatMessage) -> None:
        from sac_rag.engine.requests import as_segment

        role = ROLES.get(message.role, message.role.value)
        found = len(self.documents)
        texts = []
        for part in texts_and_documents(message):
            if not isinstance(part, str):
                self.documents.setdefault(tuple(part.items()), as_segment(part))
            elif role == "assistant":
                texts.append(sanitize(part))  # models write no handles
            else:
                texts.append(self._without_handles(part))
        text = "\n".join(texts)
        if not message.additional_kwargs.get(FORMATTED) and len(self.documents) > found:
            text = text.strip()  # of what joined the documents to the text
        if text or len(self.documents) == found:
            self.turns.append({"role": role, "content": text})

    def question(self) -> str | None:
        """Give what a query-aware adapter compresses texts for: what was last asked.

        Handles bring the question that they were made for.
        """
        from sac_rag.engine import Stored

        made = all(isinstance(one, Stored) for one in self.documents.values())
        if made or not self.engine.query_aware:
            return None
        asked = [turn["content"] for turn in self.turns if turn["role"] == "user"]
        return (asked or [self.turns[-1]["content"]])[-1].strip()

    def _without_handles(self, text: str) -> str:
        parts = _without_gaps(self.engine.resolve(text))
        for part in parts:
            if not isinstance(part, str):
                self.documents.setdefault(part.key, part)
        return "".join(part for part in parts if isinstance(part, str))


def _check_text(texts: Sequence[str]) -> None:
    if not any(text.strip() for text in texts):
        raise EmptyInputError("the prompt holds no text beside documents; ask something")


def _without_gaps(parts: Sequence[Any]) -> list[Any]:
    """Drop the blanks that joined handles: anchors stand before all text, next to each other."""
    last = max((i for i, part in enumerate(parts) if not isinstance(part, str)), default=-1)
    return [
        part
        for i, part in enumerate(parts)
        if i > last or not isinstance(part, str) or not part.isspace()
    ]
