"""Fixtures of the LlamaIndex tests: one LLM on the tiny model, a recorder, an embedding."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.embeddings import BaseEmbedding
from llama_index.llms.sac import SACLLM

TEXTS = [
    "The town of Velmora lies on the river Astin and was founded in 1812.",
    "Korrin exports copper. Its harbour freezes in winter.",
    "The bridge of Tessaly was built by Mira Dorn, who also built the mill.",
]


class Recorder(BaseCallbackHandler):
    """Keeps what reached the LLM and what it gave back."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.prompts: list[str] = []
        self.ended: list[Any] = []

    def on_event_start(self, event_type, payload=None, **_: Any) -> str:
        payload = payload or {}
        if event_type == CBEventType.LLM:
            messages = payload.get(EventPayload.MESSAGES)
            joined = "\n".join(str(message.content) for message in messages or [])
            self.prompts.append(payload.get(EventPayload.PROMPT) or joined)
        return ""

    def on_event_end(self, event_type, payload=None, **_: Any) -> None:
        self.ended.append((event_type, payload))

    def start_trace(self, trace_id=None) -> None: ...

    def end_trace(self, trace_id=None, trace_map=None) -> None: ...


class WordEmbedding(BaseEmbedding):
    """Counts words by hash: near enough to meaning for retrieval, and the same everywhere."""

    def _embed(self, text: str) -> list[float]:
        vector = [0.001] * 64
        for word in text.lower().split():
            vector[sha256(word.strip(".,?").encode()).digest()[0] % 64] += 1
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embed(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._embed(query)


@pytest.fixture
def llm(shared_engine) -> SACLLM:
    return SACLLM.from_engine(shared_engine, max_new_tokens=8)


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    """Record everything that LlamaIndex does by its global settings."""
    made = Recorder()
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([made]))
    return made


@pytest.fixture
def handles(shared_engine) -> list[str]:
    return [handle.text for handle in shared_engine.issue(TEXTS)]
