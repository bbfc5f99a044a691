"""The conformance suites of langchain-tests, nothing left out that the classes can do."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_sac import ChatSAC, SACByteStore
from langchain_tests.integration_tests import (
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    ChatModelIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests

from sac_rag.store import DirectoryByteStore, MemoryByteStore

BLOCK = {"type": "text-plain", "mime_type": "text/plain", "text": "Ashford lies on the Lune."}
QUESTION = HumanMessage(content=[BLOCK, {"type": "text", "text": "Where is Ashford?"}])


class _OnTheTinyEngine:
    @pytest.fixture(autouse=True)
    def _take_engine(self, shared_engine):
        self._engine = shared_engine

    @property
    def chat_model_class(self):
        return ChatSAC

    @property
    def chat_model_params(self):
        return {"engine": self._engine}

    @property
    def supports_model_override(self):
        return False  # one object has one model

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False


class TestChatUnit(_OnTheTinyEngine, ChatModelUnitTests):
    pass


class TestChatIntegration(_OnTheTinyEngine, ChatModelIntegrationTests):
    @property
    def chat_model_params(self):
        return {"engine": self._engine, "max_tokens": 12}

    @property
    def supported_usage_metadata_details(self):
        return {
            "invoke": ["cache_read_input", "cache_creation_input"],
            "stream": ["cache_read_input", "cache_creation_input"],
        }

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        model = ChatSAC(**self.chat_model_params)
        model.invoke([QUESTION])
        return _asked(model, stream=stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return _asked(ChatSAC(**self.chat_model_params), stream=stream)


def _asked(model: ChatSAC, *, stream: bool) -> AIMessage:
    if not stream:
        return model.invoke([QUESTION])
    first, *rest = model.stream([QUESTION])
    for chunk in rest:
        first += chunk
    return first


class _ThreeValues:
    @pytest.fixture
    def three_values(self):
        return b"one", b"\x00two\xff", b"three" * 1000


class _InMemory(_ThreeValues):
    @pytest.fixture
    def kv_store(self):
        return SACByteStore(MemoryByteStore())


class _InAFolder(_ThreeValues):
    @pytest.fixture
    def kv_store(self, tmp_path):
        return SACByteStore(DirectoryByteStore(tmp_path / "store"))


class TestMemory(_InMemory, BaseStoreSyncTests[bytes]):
    pass


class TestMemoryAsync(_InMemory, BaseStoreAsyncTests[bytes]):
    pass


class TestFolder(_InAFolder, BaseStoreSyncTests[bytes]):
    pass


class TestFolderAsync(_InAFolder, BaseStoreAsyncTests[bytes]):
    pass
