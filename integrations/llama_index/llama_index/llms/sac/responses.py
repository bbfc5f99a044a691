"""Answers as LlamaIndex' responses; ``raw`` is plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
)

if TYPE_CHECKING:
    from sac_rag import Answer


def as_completion(
    text: str, *, delta: str | None = None, raw: dict[str, Any] | None = None
) -> CompletionResponse:
    """Write text so far, new text and usage as a completion."""
    return CompletionResponse(text=text, delta=delta, raw=raw)


def as_chat(
    text: str, *, delta: str | None = None, raw: dict[str, Any] | None = None
) -> ChatResponse:
    """Write text so far, new text and usage as an assistant's message."""
    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    return ChatResponse(message=message, delta=delta, raw=raw)


def raw_of(answer: Answer, *, model: str) -> dict[str, Any]:
    """Give usage as LlamaIndex' token counters read it, and the engine's own under ``sac``.

    ``prompt_tokens`` is what the decoder held: plain text and anchors.
    """
    usage = answer.usage
    prompt_tokens = usage.prompt_tokens + usage.anchors
    return {
        "model": model,
        "finish_reason": usage.finish_reason,
        "stop_reason": answer.stop_reason,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": prompt_tokens + usage.completion_tokens,
            "anchor_tokens": usage.anchors,
            "original_context_tokens": usage.source_tokens,
        },
        "sac": usage.to_dict(),
    }
