"""What leaves the process holds no tensors, keys or store addresses; what is made loads nothing."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_sac import (
    ChatSAC,
    SACByteStore,
    SACCompressedLLM,
    SACDocumentCompressor,
    SACDocumentTransformer,
)

from sac_rag import SACEngine, open_store
from sac_rag.errors import ConfigError, EngineClosedError

CLASSES = [SACCompressedLLM, ChatSAC, SACDocumentCompressor, SACDocumentTransformer]
MODELS = CLASSES[:2]


class Trace(BaseCallbackHandler):
    def __init__(self):
        self.seen = []

    def on_llm_start(self, *args, **kwargs):
        self.seen.append(repr((args, kwargs)))

    def on_chat_model_start(self, *args, **kwargs):
        self.seen.append(repr((args, kwargs)))

    def on_llm_end(self, response, **kwargs):
        self.seen.append(repr((response, kwargs)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "secret-place"


@pytest.fixture
def folder_engine(tiny_folders, folder):
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter, store=folder) as engine:
        yield engine


def assert_clean(text, engine, folder):
    for secret in (engine.store.secret.hex(), repr(engine.store.secret), str(folder), "tensor("):
        assert secret not in text


@pytest.mark.parametrize("kind", CLASSES)
def test_repr_dumps_and_pickles(kind, folder_engine, folder):
    made = kind.from_engine(folder_engine)
    for text in (repr(made), str(made), dumps(made), repr(made.model_dump())):
        assert_clean(text, folder_engine, folder)
    blob = pickle.dumps(made)
    assert len(blob) < 4000
    assert folder_engine.store.secret not in blob
    assert str(folder).encode() not in blob
    with pytest.raises(ConfigError, match="from_engine"):
        _ = pickle.loads(blob).engine
    assert copy.deepcopy(made).engine is folder_engine


@pytest.mark.parametrize("kind", MODELS)
def test_a_pickle_of_names_loads_them_again(kind, tiny_folders, folder, documents):
    base, adapter = tiny_folders
    made = kind.from_pretrained(base, adapter=adapter, store=folder, max_tokens=4)
    expected = made.invoke("Who?", documents=documents)
    again = pickle.loads(pickle.dumps(made))
    assert not again.source.loaded
    answer = again.invoke("Who?", documents=documents)
    assert getattr(answer, "content", answer) == getattr(expected, "content", expected)
    made.close()
    again.close()


def test_an_open_store_does_not_travel(tiny_folders):
    base, adapter = tiny_folders
    made = SACCompressedLLM.from_pretrained(base, adapter=adapter, store=open_store())
    with pytest.raises(ConfigError, match="store's folder"):
        _ = pickle.loads(pickle.dumps(made)).engine


@pytest.mark.parametrize("kind", MODELS)
def test_traces(kind, folder_engine, folder, documents):
    trace = Trace()
    made = kind.from_engine(folder_engine, max_tokens=4)
    made.invoke("Who?", {"callbacks": [trace]}, documents=documents)
    list(made.stream("Who?", {"callbacks": [trace]}, documents=documents))
    assert len(trace.seen) == 4
    for text in trace.seen:
        assert_clean(text, folder_engine, folder)
        if kind is SACCompressedLLM:
            assert documents[0].page_content not in text


def test_the_key_of_a_hosted_model_is_not_shown():
    assert "sk-1" not in repr(ChatSAC(api_key="sk-1")) + dumps(ChatSAC(api_key="sk-1"))


@pytest.mark.parametrize("kind", CLASSES)
def test_making_and_showing_loads_nothing(kind):
    made = kind.from_pretrained("no/such-model", store="/no/such/place")
    assert not made.source.loaded
    assert "place" not in repr(made) + dumps(made)
    assert not made.source.loaded


def test_importing_loads_no_torch():
    code = (
        "import sys, langchain_sac as l; m = l.SACCompressedLLM(); m.as_compressor(); "
        "repr(m.as_chat_model()); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_one_engine_for_all_that_were_made_from_one_another(tiny_folders):
    base, adapter = tiny_folders
    llm = SACCompressedLLM.from_pretrained(base, adapter=adapter, temperature=0.5, stop=["x"])
    chat = llm.as_chat_model(max_tokens=3)
    assert (chat.temperature, chat.stop, chat.max_tokens) == (0.5, ["x"], 3)
    assert chat.as_llm().as_transformer().engine is llm.as_compressor().engine is llm.engine
    chat.close()
    with pytest.raises(EngineClosedError):
        llm.invoke("Who?")


def test_an_engine_brings_its_settings(shared_engine):
    with pytest.raises(ValueError, match="ratio"):
        SACCompressedLLM.from_engine(shared_engine, ratio=15)
    with pytest.raises(ValueError, match="store"):
        SACDocumentCompressor.from_engine(shared_engine, store="x")
    profile = ChatSAC.from_engine(shared_engine, max_tokens=96).profile
    assert profile["max_input_tokens"] == shared_engine.window - 96


def test_the_store_shows_no_place(folder):
    from sac_rag.store import DirectoryByteStore

    assert str(folder) not in repr(SACByteStore(DirectoryByteStore(folder)))
