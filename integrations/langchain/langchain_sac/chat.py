"""The chat model: conversations with documents as content blocks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field, SecretStr

from langchain_sac.batching import arun_batch, run_batch
from langchain_sac.blocks import asked_in, prepared, read_messages, without_random_ids
from langchain_sac.documents import Documents, question_for
from langchain_sac.rendering import segments
from langchain_sac.settings import SACModel
from langchain_sac.tables import AsyncTable, Table, leave_seat, take_seat
from langchain_sac.usage import response_metadata, usage_metadata
from sac_rag.errors import ConfigError

if TYPE_CHECKING:
    from langchain_sac.llm import SACCompressedLLM
    from sac_rag import GenerationParams
    from sac_rag.engine import Answer, Request


class ChatSAC(SACModel, BaseChatModel):
    """Answers conversations whose documents are compressed before they are read.

    Documents are content blocks: ``text-plain``, ``document`` and ``search_result`` with text, or
    ``non_standard`` with a ``sac_document``; ``documents=`` puts them before the last human
    message. Handles in text count as documents too. All are laid before the conversation, each
    once; those that the store knows are not encoded again. Images and other kinds are refused.

    There are no tools and no structured output. Settings given per call are those of
    ``SACCompressedLLM``; others are a ``TypeError``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    use_tool_artifacts: bool = False
    """Whether documents that a tool returned as its artifact are read."""
    streaming: bool = False
    """Whether ``invoke`` streams to callbacks; False, when given, switches streaming off."""
    timeout: float | None = Field(default=None, exclude=True, repr=False)
    """Taken because every chat model takes it; a local model does not use it."""
    max_retries: int | None = Field(default=None, exclude=True, repr=False)
    """Taken because every chat model takes it; a local model does not use it."""
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """Taken because every chat model takes it; a local model does not use it."""

    @property
    def _llm_type(self) -> str:
        return "sac_chat"

    def _ls_model_type(self) -> str:
        return "chat"

    def _resolve_model_profile(self) -> Any:
        window = {}
        if self.source.loaded:
            window = {"max_input_tokens": max(self.engine.window - self.max_tokens, 0)}
        without = ("tool_calling", "structured_output", "image_inputs", "audio_inputs")
        return {**window, "max_output_tokens": self.max_tokens, **dict.fromkeys(without, False)}

    def as_llm(self, **settings: Any) -> SACCompressedLLM:
        """Return a text model on the same engine, with the same settings unless given."""
        from langchain_sac.llm import SACCompressedLLM

        return SACCompressedLLM(**{**self.same_settings(), **settings})

    # Before LangChain's cache and trace: documents become blocks, equal requests become equal.

    def generate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer conversations, ``documents`` put into each as blocks."""
        messages = [prepared(value.to_messages(), documents) for value in prompts]
        return self.generate(messages, stop=stop, callbacks=callbacks, **kwargs)

    async def agenerate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Do as ``generate_prompt`` without blocking the event loop."""
        await self.source.aget()
        messages = [prepared(value.to_messages(), documents) for value in prompts]
        return await self.agenerate(messages, stop=stop, callbacks=callbacks, **kwargs)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer conversations one after another; ``batch`` answers them together."""
        self.source.get()  # its fingerprint belongs into the cache's key
        messages = [without_random_ids(conversation) for conversation in messages]
        return super().generate(messages, stop=stop, callbacks=callbacks, **kwargs)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Do as ``generate`` without blocking the event loop; cancelling stops the work."""
        await self.source.aget()
        messages = [without_random_ids(conversation) for conversation in messages]
        return await super().agenerate(messages, stop=stop, callbacks=callbacks, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Answer piece by piece; the last chunk, and only it, carries the usage."""
        self.source.get()
        messages = prepared(self._convert_input(input).to_messages(), documents)
        yield from super().stream(messages, config, stop=stop, **kwargs)

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Do as ``stream`` without blocking the event loop; closing or cancelling stops it."""
        await self.source.aget()
        messages = prepared(self._convert_input(input).to_messages(), documents)
        chunks = super().astream(messages, config, stop=stop, **kwargs)
        async with contextlib.aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer conversations together, in order, ``max_concurrency`` at a time."""
        call = partial(self.invoke, **kwargs)
        return run_batch(call, inputs, config, return_exceptions=return_exceptions)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Do as ``batch`` without blocking the event loop; cancelling stops the work."""
        call = partial(self.ainvoke, **kwargs)
        return await arun_batch(call, inputs, config, return_exceptions=return_exceptions)

    # Behind LangChain's cache and trace: the engine.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        params = self._params(stop, kwargs)
        request = self._request(messages)
        run = partial(self.engine.generate, params=params)
        seat = take_seat()
        if seat is not None and isinstance(seat.table, Table):
            return self._result(seat.table.answer(seat.index, request, run))
        return self._result(run([request])[0])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        engine = await self.source.aget()
        params = self._params(stop, kwargs)
        request = self._request(messages)
        run = partial(engine.agenerate, params=params)
        seat = take_seat()
        if seat is not None and isinstance(seat.table, AsyncTable):
            return self._result(await seat.table.answer(seat.index, request, run))
        return self._result((await run([request]))[0])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        leave_seat()
        params = self._params(stop, kwargs)
        with self.engine.stream_request(self._request(messages), params) as pieces:
            for piece in pieces:
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        if pieces.answer is not None:
            yield self._last_chunk(pieces.answer)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        leave_seat()
        engine = await self.source.aget()
        params = self._params(stop, kwargs)
        pieces = engine.astream_request(self._request(messages), params)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, str):
                    yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
                else:
                    yield self._last_chunk(piece)

    def _params(self, stop: list[str] | None, kwargs: dict[str, Any]) -> GenerationParams:
        changes = {name: value for name, value in kwargs.items() if name not in ("stream", "model")}
        if kwargs.get("model", self.model) != self.model:
            raise ConfigError(
                f"asked model {self.model!r} to answer as {kwargs['model']!r}; one object has one "
                "model, make another ChatSAC for the other"
            )
        return self.params(stop, changes)

    def _request(self, messages: Sequence[BaseMessage]) -> Request:
        from sac_rag.engine import Request
        from sac_rag.engine.requests import as_segment

        engine = self.engine
        turns = read_messages(messages, engine, tool_artifacts=self.use_tool_artifacts)
        documents = [as_segment(one) for turn in turns for one in turn.documents]
        text = segments(self.render(turns), engine)
        question = question_for(documents, engine, partial(asked_in, turns, engine))
        return Request(segments=[*dict.fromkeys(documents), *text], question=question)

    def _result(self, answer: Answer) -> ChatResult:
        message = AIMessage(
            content=answer.text,
            usage_metadata=usage_metadata(answer.usage),
            response_metadata=response_metadata(answer, model=self.model),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(self, answer: Answer) -> ChatGenerationChunk:
        message = AIMessageChunk(
            content="",
            usage_metadata=usage_metadata(answer.usage),
            response_metadata=response_metadata(answer, model=self.model),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)
