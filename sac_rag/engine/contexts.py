"""Many questions in turn about the same documents, which are laid out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.aio import generation_params
from sac_rag.engine.facts import Parts
from sac_rag.engine.requests import DocumentLike, Request, as_segment
from sac_rag.engine.usage import Answer
from sac_rag.errors import ConfigError, EmptyInputError
from sac_rag.generation import GenerationParams
from sac_rag.generation.cache import StandingCache


class Context:
    """Documents that stand in the decoder's cache. Made by ``SACEngine.context``.

    A question is written behind them, and taken off again: the documents are read, moved and laid
    out once, and nothing of them is copied however many questions come. Safe to share between
    threads: questions wait for one another.

    Args:
        calls: The engine.
        caches: The documents' anchors.
    """

    def __init__(self, calls: ContextCalls, caches: Sequence[AnchorCache]) -> None:
        self._calls = calls
        self._caches = list(caches)
        parts = calls._open()
        self._joins = parts.prompts.joins()
        params = GenerationParams(max_new_tokens=1)
        [built] = parts.prompts.build([self._request("?")], params=params, joins=self._joins)
        anchors = built.prompt.anchors
        assert anchors is not None
        with torch.inference_mode():
            self._standing = StandingCache(anchors, backbone=parts.loaded.adapter.backbone)
        self.num_anchors = sum(len(cache) for cache in self._caches)

    def __repr__(self) -> str:
        return f"Context({len(self._caches)} documents, {self.num_anchors} anchors)"

    def ask(self, question: str, max_new_tokens: int = 64, **sampling: Any) -> Answer:
        """Answer as ``SACEngine.answer`` does with the same documents.

        Args:
            question: What is asked.
            max_new_tokens: Most tokens of the answer.
            **sampling: Other settings of ``GenerationParams``.

        Raises:
            ContextOverflowError: If it does not fit the model's window.
            EngineClosedError: If the engine has been closed.
        """
        return self._calls._run(
            [self._request(question)],
            generation_params(max_new_tokens, sampling),
            joins=self._joins,
            standing=self._standing,
        )[0]

    def _request(self, question: str) -> Request:
        return self._calls.request(question, self._caches)


class ContextCalls:
    """The engine's call for documents that many questions are about."""

    if TYPE_CHECKING:
        _open: Callable[[], Parts]
        _run: Callable[..., list[Answer]]
        request: Callable[..., Request]

    def context(self, documents: DocumentLike | Sequence[DocumentLike]) -> Context:
        """Lay documents out once, to ask about them many times: ``context.ask(question)``.

        Args:
            documents: Texts, mappings, ``Document``s, handles' ``Stored`` or ``AnchorCache``s.

        Raises:
            ConfigError: If the adapter is query-aware: its anchors answer one question alone.
            EmptyInputError: If there are no documents.
        """
        parts = self._open()
        if parts.compressor.wants.query_aware:
            raise ConfigError(
                "this adapter is query-aware: it compresses documents anew for every question, so "
                "none can stand for several; use engine.answer, or an adapter without query_aware"
            )
        if isinstance(documents, str | Mapping) or not isinstance(documents, Sequence):
            documents = [documents]  # type: ignore[list-item]
        if not documents:
            raise EmptyInputError("a context of no documents: give at least one, or use generate")
        made = parts.compressor.compress([as_segment(one) for one in documents])
        return Context(self, [one.cache for one in made])
