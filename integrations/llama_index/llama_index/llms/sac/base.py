"""The LLM: LlamaIndex' eight endpoints on one engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.base.llms.generic_utils import messages_to_prompt as generic_to_prompt
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import default_completion_to_prompt
from llama_index.llms.sac.engine_source import EngineFields
from llama_index.llms.sac.requests import by_function, by_template, chat_request, prompt_request
from llama_index.llms.sac.responses import as_chat, as_completion, raw_of
from llama_index.llms.sac.wiring import Wiring

if TYPE_CHECKING:
    from sac_rag import Answer, GenerationParams, Request

SAMPLING = ("max_new_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop")
Response = TypeVar("Response", CompletionResponse, ChatResponse)
Asked = tuple["Request", "GenerationParams"]


class SACLLM(Wiring, EngineFields, CustomLLM):
    """Answers from compressed documents: handles in a prompt become anchors in the KV cache.

    Building it loads nothing; the first use does. Keyword arguments of a call change the settings
    below for that call, and names that are not settings raise ``TypeError``.

    Examples:
        >>> llm = SACLLM(model="embedded")
        >>> llm.max_new_tokens
        256
    """

    max_new_tokens: int = Field(default=256, ge=1, description="Most tokens of an answer.")
    temperature: float = Field(default=0.0, ge=0, description="0 takes the likeliest token.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=1, description="Sample from so many tokens.")
    repetition_penalty: float | None = Field(default=None, gt=0, description="Above 1: less.")
    seed: int | None = Field(default=None, description="Makes sampling repeatable.")
    stop: list[str] = Field(default_factory=list, description="Texts that end an answer.")
    context_window: int | None = Field(
        default=None, ge=1, description="Positions to use; None for all that the model has."
    )

    @classmethod
    def class_name(cls) -> str:
        return "SACLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """Window, output size and name of the model; loads it."""
        window = self.engine.window
        return LLMMetadata(
            context_window=min(self.context_window or window, window),
            num_output=self.max_new_tokens,
            is_chat_model=self.engine.tokens.has_chat_template,
            model_name=self.engine.name,
        )

    def to_payload(self) -> dict[str, Any]:
        """Describe the LLM for events, without loading it."""
        if self._source.loaded:
            return super().to_payload()
        return {
            "class_name": self.class_name(),
            "model_name": self.model,
            "num_output": self.max_new_tokens,
        }

    # complete

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._answer(self._ask_prompt(prompt, formatted, kwargs), as_completion)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        return self._stream(self._ask_prompt(prompt, formatted, kwargs), as_completion)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        asked = await asyncio.to_thread(self._ask_prompt, prompt, formatted, kwargs)
        return await self._aanswer(asked, as_completion)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        asked = await asyncio.to_thread(self._ask_prompt, prompt, formatted, kwargs)
        return self._astream(asked, as_completion)

    # chat

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._answer(self._ask_chat(messages, kwargs), as_chat)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(self._ask_chat(messages, kwargs), as_chat)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        asked = await asyncio.to_thread(self._ask_chat, messages, kwargs)
        return await self._aanswer(asked, as_chat)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        asked = await asyncio.to_thread(self._ask_chat, messages, kwargs)
        return self._astream(asked, as_chat)

    # what is asked

    def _ask_prompt(self, prompt: str, formatted: bool, changes: dict[str, Any]) -> Asked:
        params = self._params(changes)
        own_template = self.completion_to_prompt is not default_completion_to_prompt
        has_template = self.engine.tokens.has_chat_template
        if not formatted and has_template and not own_template:
            return self._chat_request([ChatMessage(content=prompt)]), params
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        rendered = own_template or (formatted and has_template)
        return prompt_request(self.engine, prompt, rendered=rendered), params

    def _ask_chat(self, messages: Sequence[ChatMessage], changes: dict[str, Any]) -> Asked:
        return self._chat_request(messages), self._params(changes)

    def _chat_request(self, messages: Sequence[ChatMessage]) -> Request:
        tokens, to_prompt = self.engine.tokens, self.messages_to_prompt
        own_template = to_prompt not in (None, generic_to_prompt)
        if tokens.has_chat_template and not own_template:
            write = partial(by_template, tokens=tokens)
        else:
            write = partial(
                by_function, to_prompt=to_prompt or generic_to_prompt, rendered=own_template
            )
        return chat_request(self.engine, messages, write=write)

    def _params(self, changes: dict[str, Any]) -> GenerationParams:
        from sac_rag import GenerationParams  # here, because it loads torch

        own = {name: getattr(self, name) for name in SAMPLING}
        return GenerationParams().with_changes({**own, **changes})

    # what is answered

    def _answer(self, asked: Asked, respond: Callable[..., Response]) -> Response:
        request, params = asked
        return self._whole(self.engine.generate([request], params)[0], respond)

    async def _aanswer(self, asked: Asked, respond: Callable[..., Response]) -> Response:
        request, params = asked
        return self._whole((await self.engine.agenerate([request], params))[0], respond)

    def _whole(self, answer: Answer, respond: Callable[..., Response]) -> Response:
        return respond(answer.text, raw=raw_of(answer, model=self.engine.name))

    def _stream(
        self, asked: Asked, respond: Callable[..., Response]
    ) -> Generator[Response, None, None]:
        text = ""
        with self.engine.stream_request(*asked) as stream:
            for piece in stream:
                text += piece
                yield respond(text, delta=piece)
            if stream.answer is not None:
                yield self._last(text, stream.answer, respond)

    async def _astream(
        self, asked: Asked, respond: Callable[..., Response]
    ) -> AsyncGenerator[Response, None]:
        text = ""
        async with contextlib.aclosing(self.engine.astream_request(*asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    text += piece
                    yield respond(text, delta=piece)
                else:
                    yield self._last(text, piece, respond)

    def _last(self, text: str, answer: Answer, respond: Callable[..., Response]) -> Response:
        return respond(text, delta="", raw=raw_of(answer, model=self.engine.name))
