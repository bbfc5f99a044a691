"""A context that is asked many times answers as if each question were asked apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from sac_rag import GenerationParams, SACEngine
from sac_rag.adapter import Adapter
from sac_rag.engine.engine import SACEngine as Engine
from sac_rag.engine.loading import Loaded
from sac_rag.errors import ConfigError, EmptyInputError, EngineClosedError
from tests.engine.test_answer import DOCUMENTS

QUESTIONS = ["What stood there?", "Who came at dawn, and what did they bring with them?", "Why?"]


@pytest.fixture
def sink_engine(engine):
    """The engine's twin with a sink before all documents."""
    loaded = engine._open().loaded
    adapter = Adapter(loaded.adapter.method, replace(loaded.adapter.config, sink=True))
    twin = Loaded(name="sink", adapter=adapter, tokens=loaded.tokens)
    with Engine(twin, store=engine.store) as made:
        yield made


@pytest.mark.parametrize("kind", ["engine", "sink_engine"])
def test_asked_in_turn_equals_asked_apart(kind, request):
    engine = request.getfixturevalue(kind)
    context = engine.context(DOCUMENTS)
    for question in [*QUESTIONS, QUESTIONS[0]]:
        apart = engine.answer(question, DOCUMENTS, max_new_tokens=12)
        inside = context.ask(question, max_new_tokens=12)
        assert inside.text == apart.text
        assert inside.usage.anchors == apart.usage.anchors == context.num_anchors
        assert inside.usage.cache_bytes == apart.usage.cache_bytes


def test_a_sink_is_read_from_the_frozen_model(sink_engine):
    parts = sink_engine._open()
    request = sink_engine.request(QUESTIONS[0], DOCUMENTS[:1])
    [built] = parts.prompts.build([request], params=GenerationParams())
    bos = torch.tensor([[sink_engine.tokens.bos_id]])
    backbone = parts.loaded.adapter.backbone
    with backbone.decoding(), torch.no_grad():
        cache = backbone.causal_lm(input_ids=bos, use_cache=True).past_key_values
    wanted = torch.stack([layer.keys[0] for layer in cache.layers])
    sink, document = built.prompt.anchors.caches
    torch.testing.assert_close(sink.keys, wanted)
    assert sink.positions.tolist() == [0]
    assert built.prompt.anchors.shifts == [0, 0]  # the document stands where it stands without
    assert document.positions[0] >= 1


def test_requests_for_the_same_documents_share_one_joined_cache(shared_engine):
    requests = [shared_engine.request(question, DOCUMENTS) for question in QUESTIONS]
    requests.append(shared_engine.request(QUESTIONS[0], DOCUMENTS[::-1]))
    prompts = shared_engine._open().prompts
    joins = prompts.joins()
    params = GenerationParams(max_new_tokens=4)
    built = [*prompts.build(requests, params=params, joins=joins)]
    built += prompts.build(requests[:1], params=params, joins=joins)  # loaded from the store anew
    caches = [one.prompt.anchors for one in built]
    assert caches[0] is caches[1] is caches[2] is caches[4]
    assert caches[3] is not caches[0]
    together = shared_engine.generate(requests, max_new_tokens=12, batch_size=2)
    alone = [shared_engine.generate([one], max_new_tokens=12)[0] for one in requests]
    assert [one.text for one in together] == [one.text for one in alone]


def test_threads_share_a_context(shared_engine):
    context = shared_engine.context(DOCUMENTS)
    apart = [shared_engine.answer(question, DOCUMENTS, 8).text for question in QUESTIONS * 2]
    with ThreadPoolExecutor(3) as pool:
        asked = list(pool.map(lambda question: context.ask(question, 8).text, QUESTIONS * 2))
    assert asked == apart


def test_one_document_may_come_alone(shared_engine):
    assert shared_engine.context(DOCUMENTS[0]).num_anchors > 0
    with pytest.raises(EmptyInputError, match="no documents"):
        shared_engine.context([])


def test_query_aware_anchors_stand_for_no_second_question(query_aware_folders):
    base, adapter = query_aware_folders
    with (
        SACEngine.from_pretrained(base, adapter=adapter) as engine,
        pytest.raises(ConfigError, match="compresses documents anew for every question"),
    ):
        engine.context(DOCUMENTS)


def test_a_closed_engines_context_says_so(engine):
    context = engine.context(DOCUMENTS)
    engine.close()
    with pytest.raises(EngineClosedError):
        context.ask("Still there?")
