"""What an answer took, in LangChain's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import Generation, LLMResult

if TYPE_CHECKING:
    from sac_rag.engine import Answer, Usage

_SUMMED = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "anchor_tokens",
    "original_context_tokens",
    "anchors_loaded",
    "anchors_encoded",
    "encode_ms",
    "prefill_ms",
)


def token_usage(usage: Usage) -> dict[str, Any]:
    """Count as hosted models do: ``prompt_tokens`` is text and anchors together."""
    return {
        "prompt_tokens": usage.prompt_tokens + usage.anchors,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "anchor_tokens": usage.anchors,
        "original_context_tokens": usage.source_tokens,
        "compression_ratio": usage.ratio,
        "anchors_loaded": usage.anchors_loaded,
        "anchors_encoded": usage.anchors_encoded,
        "encode_ms": usage.encode_s * 1000,
        "prefill_ms": usage.prefill_s * 1000,
    }


def generation_info(answer: Answer) -> dict[str, Any]:
    """Say why an answer ended and what it took."""
    return {
        "finish_reason": answer.usage.finish_reason,
        "stop_reason": answer.stop_reason,
        "token_usage": token_usage(answer.usage),
        "sac": answer.usage.to_dict(),
    }


def usage_metadata(usage: Usage) -> UsageMetadata:
    """Count as LangChain's messages do: anchors from the store are read, others created."""
    return UsageMetadata(
        input_tokens=usage.prompt_tokens + usage.anchors,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=InputTokenDetails(
            cache_read=usage.anchors_loaded, cache_creation=usage.anchors_encoded
        ),
    )


def response_metadata(answer: Answer, *, model: str) -> dict[str, Any]:
    """Say which model answered, why it ended, and the engine's own counts."""
    return {
        "model_name": model,
        "model_provider": "sac",
        "finish_reason": answer.usage.finish_reason,
        "stop_reason": answer.stop_reason,
        "sac": answer.usage.to_dict(),
    }


def llm_result(answers: Sequence[Answer], *, model: str) -> LLMResult:
    """Write the answers to several prompts, each with its own usage, and the sum of all."""
    infos = [generation_info(answer) for answer in answers]
    summed = {name: sum(info["token_usage"][name] for info in infos) for name in _SUMMED}
    return LLMResult(
        generations=[
            [Generation(text=answer.text, generation_info=info)]
            for answer, info in zip(answers, infos, strict=True)
        ],
        llm_output={"token_usage": summed, "model_name": model},
    )
