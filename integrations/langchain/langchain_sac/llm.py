"""The text model: prompts whose handles stand for compressed documents."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseLLM
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.outputs import GenerationChunk, LLMResult
from langchain_core.prompt_values import PromptValue, StringPromptValue
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict

from langchain_sac._aio import in_thread
from langchain_sac.documents import Documents
from langchain_sac.prompts import prompt_text
from langchain_sac.rendering import segments, unseal
from langchain_sac.settings import SACModel
from langchain_sac.usage import generation_info, llm_result

if TYPE_CHECKING:
    from langchain_sac.chat import ChatSAC
    from sac_rag.engine import Answer, Request

_OF_THE_RUN = ("tags", "metadata", "run_name", "run_id")


class SACCompressedLLM(SACModel, BaseLLM):
    """Answers prompts; a handle in a prompt stands for a document's anchors.

    Handles come from ``as_compressor()`` (in a chain) or from ``documents=`` (in a call), which
    wraps the text as the question about them. Documents are laid before all text, in order of
    appearance. ``documents=`` and settings given per call are part of what LangChain's cache sees.

    Every call takes ``documents`` and, beside ``stop``, the settings ``max_tokens``,
    ``temperature``, ``top_p``, ``top_k``, ``repetition_penalty`` and ``seed``; others are a
    ``TypeError``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @property
    def _llm_type(self) -> str:
        return "sac_compressed"

    def _ls_model_type(self) -> str:
        return "llm"

    def as_chat_model(self, **settings: Any) -> ChatSAC:
        """Return a chat model on the same engine, with the same settings unless given."""
        from langchain_sac.chat import ChatSAC

        return ChatSAC(**{**self.same_settings(), **settings})

    # From here to the next mark: whatever a call brings is folded into the prompt's text and into
    # the model itself before LangChain looks at cache and trace, which know nothing else.

    def generate_prompt(
        self,
        prompts: list[PromptValue],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer prompts together, documents and messages turned into handles and text."""
        texts = self._texts(prompts, documents)
        return self.generate(texts, stop=stop, callbacks=callbacks, **kwargs)

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
        texts = await in_thread(partial(self._texts, prompts, documents))
        return await self.agenerate(texts, stop=stop, callbacks=callbacks, **kwargs)

    def generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Answer prompts together.

        Raises:
            TypeError: If a setting is not known; lists those that are.
            ContextOverflowError: If a prompt with its answer does not fit the model's window.
        """
        run, changes = _split(kwargs)
        model = self._with(changes)
        if documents is not None:
            prompts = self._texts([StringPromptValue(text=text) for text in prompts], documents)
        return super(SACCompressedLLM, model).generate(
            prompts, stop=stop, callbacks=callbacks, **run
        )

    async def agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        callbacks: Any = None,
        *,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Do as ``generate`` without blocking the event loop; cancelling stops the work."""
        run, changes = _split(kwargs)
        await self.source.aget()
        model = self._with(changes)
        if documents is not None:
            values: list[PromptValue] = [StringPromptValue(text=text) for text in prompts]
            prompts = await in_thread(partial(self._texts, values, documents))
        return await super(SACCompressedLLM, model).agenerate(
            prompts, stop=stop, callbacks=callbacks, **run
        )

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Answer piece by piece; joined, the pieces are what ``invoke`` returns."""
        model = self._with(kwargs)
        [text] = self._texts([self._convert_input(input)], documents)
        yield from super(SACCompressedLLM, model).stream(text, config, stop=stop)

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        documents: Documents | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[str]:
        """Do as ``stream`` without blocking the event loop; closing or cancelling stops it."""
        value = self._convert_input(input)
        [text] = await in_thread(partial(self._texts, [value], documents))
        model = self._with(kwargs)
        pieces = super(SACCompressedLLM, model).astream(text, config, stop=stop)
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    # Behind LangChain's cache and trace: the engine.

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        params = self.params(stop, kwargs)
        answers = self.engine.generate([self._request(text) for text in prompts], params)
        return llm_result(answers, model=self.model)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        engine = await self.source.aget()
        params = self.params(stop, kwargs)
        answers = await engine.agenerate([self._request(text) for text in prompts], params)
        return llm_result(answers, model=self.model)

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        params = self.params(stop, kwargs)
        with self.engine.stream_request(self._request(prompt), params) as pieces:
            for piece in pieces:
                chunk = GenerationChunk(text=piece)
                if run_manager:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
        if pieces.answer is not None:
            yield _last_chunk(pieces.answer)

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        engine = await self.source.aget()
        params = self.params(stop, kwargs)
        pieces = engine.astream_request(self._request(prompt), params)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if not isinstance(piece, str):
                    yield _last_chunk(piece)
                    continue
                chunk = GenerationChunk(text=piece)
                if run_manager:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk

    def _request(self, text: str) -> Request:
        from sac_rag.engine import Request

        return Request(segments=segments(unseal(text, self.engine), self.engine))

    def _texts(
        self, prompts: Sequence[PromptValue], documents: Documents | None, cancel: Any = None
    ) -> list[str]:
        return [prompt_text(value, self, documents, cancel=cancel) for value in prompts]

    def _with(self, changes: dict[str, Any]) -> Self:
        """Return this model with other settings, on the same engine, loaded."""
        self.source.get()
        params = self.params(changes=changes)
        update = {
            {"max_new_tokens": "max_tokens"}.get(name, name): value
            for name, value in changes.items()
        }
        if not update:
            return self
        changed = self.model_copy(update={**update, "max_tokens": params.max_new_tokens})
        vars(changed).pop("_serialized", None)  # what traces show of the model before
        return changed


def _last_chunk(answer: Answer) -> GenerationChunk:
    return GenerationChunk(text="", generation_info=generation_info(answer))


def _split(kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what LangChain's runs take from settings of the generation."""
    run = {name: kwargs.pop(name) for name in _OF_THE_RUN if name in kwargs}
    return run, kwargs
