"""The door: compress documents, ask questions, get answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from sac_rag.codecs import EXACT, Codec, check_codec_name
from sac_rag.engine.aio import AsyncCalls, generation_params
from sac_rag.engine.compressor import Compressor
from sac_rag.engine.contexts import ContextCalls
from sac_rag.engine.desk import HandleDesk
from sac_rag.engine.documents import DocumentCalls
from sac_rag.engine.facts import Facts, Parts
from sac_rag.engine.joining import Joins
from sac_rag.engine.loading import EMBEDDED, Loaded, load
from sac_rag.engine.planning import PlanCalls
from sac_rag.engine.prompting import PromptBuilder
from sac_rag.engine.requests import DocumentLike, Request, as_segment, check_question
from sac_rag.engine.streaming import AnswerStream
from sac_rag.engine.usage import Answer, Usage
from sac_rag.errors import EngineClosedError
from sac_rag.generation import GenerationParams, complete
from sac_rag.generation.cache import StandingCache
from sac_rag.generation.decode import OnText
from sac_rag.store import AnchorStore, open_store

BATCH_REQUESTS = 8
"""Requests decoded together."""


class SACEngine(Facts, DocumentCalls, PlanCalls, ContextCalls, AsyncCalls):
    """Compresses documents into anchors and answers questions from them.

    Safe to call from several threads: one of them uses the model at a time.

    Args:
        loaded: Model, tokenizer and adapter.
        store: Where anchors are kept.
    """

    def __init__(self, loaded: Loaded, *, store: AnchorStore) -> None:
        compressor = Compressor(loaded.adapter, tokens=loaded.tokens, store=store)
        self._parts: Parts | None = Parts(
            loaded=loaded,
            compressor=compressor,
            prompts=PromptBuilder(compressor),
            desk=HandleDesk(compressor),
        )
        self.name = loaded.name
        self.store = store
        self._workers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sac-rag")
        self._closing = ExitStack()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = EMBEDDED,
        adapter: str | Path | None = None,
        ratio: int | None = None,
        store: AnchorStore | str | Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        namespace: str = "default",
        local_files_only: bool | None = None,
        codec: str | Codec = EXACT,
    ) -> SACEngine:
        """Load a model and its adapter.

        Args:
            model: ``embedded``, a folder, a hub id, or an adapter folder that names its base.
            adapter: Folder or hub id of a SAC adapter; ``embedded`` brings its own. Without one
                every token is kept (ratio 1).
            ratio: Tokens per anchor, of those that the adapter serves; None takes the adapter's.
            store: An ``AnchorStore``, a folder, or None for memory.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
            dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
            namespace: Separates tenants that share a store.
            local_files_only: True never asks the hub.
            codec: How the store writes anchors, and the coarsest that it serves: ``exact``,
                ``bf16``, ``fp16``, ``int8``, ``int4``, ``pca:FILE`` or a codec; see ``open_store``.
                A store that was given open has its own.

        Raises:
            ConfigError: If the codec is not known, or not that of the open store.
            UnsupportedModelError: If the model's layers or RoPE cannot carry anchors.
            AdapterMismatchError: If base or ratio are not the adapter's.
            CheckpointFormatError: If the adapter's files are missing or damaged.
        """
        if isinstance(codec, str) and not isinstance(store, AnchorStore):
            check_codec_name(codec)  # before a model is loaded for nothing
        loaded = load(
            model,
            adapter=adapter,
            ratio=ratio,
            device=device,
            dtype=dtype,
            local_files_only=local_files_only,
        )
        engine = cls(loaded, store=open_store(store, namespace=namespace, codec=codec))
        if not isinstance(store, AnchorStore):
            engine._closing.callback(engine.store.close)
        return engine

    # answer

    def request(
        self, question: str, documents: Sequence[DocumentLike], *, compress: bool = True
    ) -> Request:
        """Write a question about documents as the adapter's prompt format has it.

        Args:
            question: What is asked.
            documents: Texts, mappings, ``Document``s or ``AnchorCache``s.
            compress: False lets the decoder read all of them in full: the full-context twin.
        """
        self._open()
        documents = [documents] if isinstance(documents, str | Mapping) else documents  # type: ignore[list-item]
        segments = [as_segment(document, compressed=compress) for document in documents]
        asked = self.prompt_format.question(check_question(question))
        return Request(segments=[*segments, asked], question=question)

    def answer(
        self,
        question: str,
        documents: Sequence[DocumentLike],
        max_new_tokens: int = 64,
        *,
        compress: bool = True,
        **sampling: Any,
    ) -> Answer:
        """Answer a question from documents.

        Args:
            question: What is asked.
            documents: Texts, ``{"text", "title"}`` mappings or ``AnchorCache``s.
            max_new_tokens: Most tokens of the answer.
            compress: False reads the documents in full instead.
            **sampling: Other settings of ``GenerationParams``.

        Raises:
            ContextOverflowError: If it does not fit the model's window.
            TypeError: If a setting is not known.
        """
        request = self.request(question, documents, compress=compress)
        return self._run([request], generation_params(max_new_tokens, sampling))[0]

    def stream(
        self,
        question: str,
        documents: Sequence[DocumentLike],
        max_new_tokens: int = 64,
        *,
        compress: bool = True,
        **sampling: Any,
    ) -> AnswerStream:
        """Answer piece by piece; joined, the pieces are the answer of ``answer``.

        The stream's ``answer`` holds text and usage once it has ended; ``close()`` stops the work.
        """
        request = self.request(question, documents, compress=compress)
        return self.stream_request(request, generation_params(max_new_tokens, sampling))

    def stream_request(self, request: Request, params: GenerationParams) -> AnswerStream:
        """Answer one request piece by piece."""
        self._open()
        return AnswerStream(partial(self._run_one, request, params), workers=self._workers)

    def generate(
        self,
        requests: Sequence[Request],
        params: GenerationParams | None = None,
        *,
        cancel: threading.Event | None = None,
        batch_size: int = BATCH_REQUESTS,
        **sampling: Any,
    ) -> list[Answer]:
        """Answer requests in batches, in order; their anchors and lengths may differ.

        Documents that several requests name in the same order are moved once a batch. For many
        questions one after another see ``context``.

        Args:
            requests: See ``Request`` and ``request``.
            params: Settings for all of them.
            cancel: When set, generation stops at the next token.
            batch_size: Requests decoded together.
            **sampling: Changes to ``params``.
        """
        params = (params or GenerationParams()).with_changes(sampling)
        answers: list[Answer] = []
        joins = self._open().prompts.joins()
        for first in range(0, len(requests), batch_size):
            batch = requests[first : first + batch_size]
            answers.extend(self._run(batch, params, cancel=cancel, joins=joins))
        return answers

    # end

    def close(self) -> None:
        """Let go of the model, and of the store unless it was given open.

        Later calls raise ``EngineClosedError``.
        """
        if self._parts is None:
            return
        self._parts = None
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._closing.close()

    def __enter__(self) -> SACEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._parts is None else f"ratio={self.ratio}"
        return f"SACEngine({self.name!r}, {state})"

    def _open(self) -> Parts:
        if self._parts is None:
            raise EngineClosedError("this engine has been closed; load another one")
        return self._parts

    def _run_one(
        self,
        request: Request,
        params: GenerationParams,
        *,
        on_text: OnText,
        cancel: threading.Event,
    ) -> Answer:
        return self._run([request], params, on_text=on_text, cancel=cancel)[0]

    def _run(
        self,
        requests: Sequence[Request],
        params: GenerationParams,
        *,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
        joins: Joins | None = None,
        standing: StandingCache | None = None,
    ) -> list[Answer]:
        parts = self._open()
        built = parts.prompts.build(requests, params=params, cancel=cancel, joins=joins)
        completions = complete(
            [one.prompt for one in built],
            backbone=parts.loaded.adapter.backbone,
            tokens=parts.loaded.tokens,
            params=params,
            on_text=on_text,
            cancel=cancel,
            standing=standing,
        )
        return [
            Answer(
                text=completion.text,
                usage=Usage.of(completion, one.counts),
                stop_reason=completion.stop_reason,
            )
            for one, completion in zip(built, completions, strict=True)
        ]
