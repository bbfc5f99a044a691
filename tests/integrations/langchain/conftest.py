"""Models on the tiny random engine, with the network off."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_sac import ChatSAC, SACCompressedLLM
from pytest_socket import disable_socket, enable_socket

from sac_rag import SACEngine
from tests.tiny import byte_tokenizer, write_tiny

QUESTION_TEMPLATE = "{{ '\\n### Question:\\n' + messages[-1].content + '\\n### Answer:\\n' }}"
"""A chat template that writes the last message in the adapter's question format."""


@pytest.fixture(autouse=True)
def _no_network():
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
def llm(shared_engine):
    return SACCompressedLLM.from_engine(shared_engine, max_tokens=12)


@pytest.fixture
def chat(shared_engine):
    return ChatSAC.from_engine(shared_engine, max_tokens=12)


@pytest.fixture
def documents():
    return [
        Document("Ashford lies on the river Lune and exports barley.", id="a", metadata={"n": 1}),
        Document("Bree was founded in 1402 by two millers.", id="b"),
        Document("The mayor of Carn keeps forty geese in the town hall.", id="c"),
    ]


@pytest.fixture(scope="session")
def question_folders(tmp_path_factory):
    """The tiny model whose chat template writes the question format."""
    base, adapter = write_tiny(tmp_path_factory.mktemp("question"))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = QUESTION_TEMPLATE
    tokenizer.save_pretrained(base)
    return base, adapter


@pytest.fixture
def question_engine(question_folders):
    base, adapter = question_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


@pytest.fixture
def generate_calls(monkeypatch):
    """How many requests each call of ``SACEngine.generate`` was given."""
    calls: list[int] = []
    generate = SACEngine.generate

    def counted(self, requests, *args, **kwargs):
        calls.append(len(requests))
        return generate(self, requests, *args, **kwargs)

    monkeypatch.setattr(SACEngine, "generate", counted)
    return calls
