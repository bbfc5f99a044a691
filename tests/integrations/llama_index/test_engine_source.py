"""Laws of loading: nothing before it is needed, nothing in dumps but names."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import pytest
from llama_index.llms.sac import SACLLM
from llama_index.postprocessor.sac import SACNodePostprocessor, SACPrecompress

from sac_rag import open_store
from sac_rag.errors import AdapterMismatchError, ConfigError, HandleForgeryError
from tests.integrations.llama_index.conftest import TEXTS

ALL = [SACLLM, SACNodePostprocessor, SACPrecompress]


def test_importing_and_building_loads_no_torch():
    code = (
        "import sys\n"
        "from llama_index.llms.sac import SACLLM\n"
        "from llama_index.postprocessor.sac import SACNodePostprocessor, SACPrecompress\n"
        "llm = SACLLM(model='/nowhere'); llm.as_postprocessor(); repr(llm); llm.to_payload()\n"
        "SACNodePostprocessor(model='/nowhere'); SACPrecompress(model='/nowhere').to_json()\n"
        "print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("kind", ALL)
def test_fields_load_the_engine_they_name_once(kind, tiny_folders, tmp_path):
    base, adapter = tiny_folders
    made = kind(model=base, adapter=adapter, store=tmp_path / "store")
    assert not made._source.loaded
    engine = made.engine
    assert made.engine is engine
    assert engine.ratio == 5
    engine.close()


def test_from_pretrained_takes_names_and_an_open_store(tiny_folders, tmp_path):
    base, adapter = tiny_folders
    store = open_store(tmp_path / "store", namespace="a")
    llm = SACLLM.from_pretrained(base, adapter=adapter, store=store, max_new_tokens=4)
    assert not llm._source.loaded
    assert (llm.store, llm.namespace) == (str(tmp_path / "store"), "a")
    assert llm.engine.store is store
    again = pickle.loads(pickle.dumps(llm))
    [handle] = llm.engine.issue(TEXTS[:1])
    assert again.complete(f"{handle.text} What?").raw["sac"]["anchors_loaded"] > 0
    for one in (llm, again):
        one.engine.close()


@pytest.mark.parametrize("kind", ALL)
def test_a_codec_travels_with_the_names(kind, tiny_folders, tmp_path):
    base, adapter = tiny_folders
    named = kind(model=base, adapter=adapter, store=tmp_path / "store", codec="int4")
    opened = kind.from_pretrained(
        base, adapter=adapter, store=open_store(tmp_path / "store", codec="int4")
    )
    built = kind.from_engine(named.engine)
    for one in (named, opened, built, pickle.loads(pickle.dumps(opened))):
        assert one.codec == one.engine.store.codec == "int4"
        one.engine.close()
    with pytest.raises(ConfigError, match="did you mean 'int8'"):
        _ = kind(model=base, codec="Int8").engine


def test_what_cannot_be_loaded_is_said_at_the_first_use(tiny_folders):
    llm = SACLLM.from_pretrained(tiny_folders[0], adapter=tiny_folders[1], ratio=7)
    with pytest.raises(AdapterMismatchError, match="ratio"):
        llm.complete("What?")


def test_parts_share_the_engine_of_their_llm(llm, tiny_folders):
    assert llm.as_postprocessor().engine is llm.engine is llm.as_precompress().engine
    lazy = SACLLM(model=tiny_folders[0], adapter=tiny_folders[1])
    post = lazy.as_postprocessor(on_error="raise")
    assert not post._source.loaded
    assert post.engine is lazy.engine
    lazy.engine.close()


def test_handles_of_another_store_are_refused(llm, engine):
    [handle] = engine.issue(TEXTS[:1])
    with pytest.raises(HandleForgeryError, match="same store"):
        llm.complete(f"{handle.text} What?")


@pytest.mark.parametrize("kind", ALL)
def test_names_and_nothing_else_in_dumps_repr_and_pickles(kind, engine):
    made = kind.from_engine(engine)
    secret = engine.store.secret
    pickled = pickle.dumps(made)
    for text in (made.to_json(), repr(made), str(made.model_dump()), pickled.decode("latin-1")):
        assert "tensor" not in text.lower()
        assert secret.hex() not in text
        assert secret.decode("latin-1") not in text
    assert len(pickled) < 10_000
    assert json.loads(made.to_json())["fingerprint"] == engine.fingerprint


@pytest.mark.parametrize("kind", ALL)
def test_dumps_and_pickles_lead_to_the_same_engine(kind, tiny_folders, tmp_path):
    base, adapter = tiny_folders
    made = kind(model=base, adapter=adapter, store=tmp_path / "store")
    for again in (pickle.loads(pickle.dumps(made)), kind.from_dict(made.to_dict())):
        assert again.to_dict() == made.to_dict()
        assert not again._source.loaded
        assert again.engine.fingerprint == made.engine.fingerprint
        again.engine.close()
    made.engine.close()


def test_copies_share_the_engine(llm):
    assert copy.deepcopy(llm.as_postprocessor()).engine is llm.engine
    assert llm.model_copy().engine is llm.engine


def test_another_compressor_than_recorded_is_refused(llm, tiny_folders):
    base, adapter = tiny_folders
    stranger = SACLLM(model=base, adapter=adapter, fingerprint="0" * 64)
    with pytest.raises(AdapterMismatchError, match="000000000000"):
        _ = stranger.engine
    recorded = SACLLM(model=base, adapter=adapter, fingerprint=llm.fingerprint)
    assert recorded.engine.fingerprint == llm.fingerprint
    recorded.engine.close()


def test_names_of_the_engine_cannot_change_under_it(llm):
    with pytest.raises(ValueError, match="frozen"):
        llm.ratio = 15
