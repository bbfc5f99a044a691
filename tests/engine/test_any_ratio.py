"""An engine on an any-ratio adapter: a ratio for the engine, another for a document."""

from __future__ import annotations

import pytest
import torch

from sac_rag import Document, Request, SACEngine, open_store
from sac_rag.anchor_cache import join
from sac_rag.errors import AdapterMismatchError, ConfigError

TEXT = "The mill stood where two rivers met. " * 20
OTHER = "Ships came at dawn, loaded with salt and copper. " * 9
QUESTION = "What stood where the rivers met?"


@pytest.fixture
def opened(any_ratio_folders):
    """Open engines at a ratio, all on one store."""
    base, adapter = any_ratio_folders
    store = open_store(None)

    def make(ratio: int | None = None) -> SACEngine:
        return SACEngine.from_pretrained(base, adapter=adapter, ratio=ratio, store=store)

    return make


def test_one_folder_serves_every_ratio_as_one_compressor(opened):
    engines = {ratio: opened(ratio) for ratio in (5, 15, 51)}
    assert opened().ratio == 5
    assert {engine.fingerprint for engine in engines.values()} == {opened().fingerprint}
    assert len({engine.key_of(TEXT) for engine in engines.values()}) == 3
    for ratio, engine in engines.items():
        assert (engine.ratio, engine.ratios) == (ratio, (5, 15, 51))
        cache = engine.compress(TEXT)
        assert len(cache) == engine.count_anchors(TEXT)
        assert abs(cache.num_tokens / len(cache) - ratio) < ratio / 5
    with pytest.raises(AdapterMismatchError, match=r"asked for ratio 7.*5, 15, 51"):
        opened(7)


def test_a_document_at_its_own_ratio_is_what_an_engine_at_that_ratio_makes(opened):
    fine, coarse = opened(5), opened(51)
    document = Document(text=TEXT, ratio=51)
    assert fine.key_of(document) == coarse.key_of(TEXT)
    assert fine.key_of(Document(text=TEXT, ratio=5)) == fine.key_of(TEXT)
    ours, theirs = fine.compress(document), coarse.compress(TEXT)
    assert torch.equal(ours.keys, theirs.keys)
    assert fine.count_anchors(document) == len(ours)
    assert len(fine.store) == 1
    with pytest.raises(ConfigError, match="asked for ratio 10"):
        fine.compress(Document(text=TEXT, ratio=10))


def test_documents_of_several_ratios_stand_in_one_prompt(opened):
    engine = opened(15)
    documents = [Document(text=TEXT, ratio=51), OTHER, Document(text=TEXT, ratio=5)]
    answer = engine.answer(QUESTION, documents, max_new_tokens=12)
    by_hand = join(engine.compress(documents), inv_freq=engine.inv_freq)
    assert engine.answer(QUESTION, [by_hand], max_new_tokens=12).text == answer.text
    assert answer.usage.anchors == len(by_hand)
    counted = [engine.count_anchors(one) for one in documents]
    assert answer.usage.anchors == sum(counted)
    assert counted[0] < counted[2]


def test_a_handle_keeps_its_ratio_when_its_anchors_are_gone(opened):
    coarse, fine = opened(51), opened(5)
    [handle] = coarse.issue([{"text": TEXT, "title": "Mill"}])
    [same] = fine.issue([Document(text=TEXT, title="Mill", ratio=51)])
    assert handle == same
    fine.store.backend.mdelete(["anchors/" + handle.key])
    segments = fine.resolve(handle.text + "and?")
    [answer] = fine.generate([Request(segments=segments)], max_new_tokens=2)
    assert answer.usage.anchors_encoded == handle.num_anchors


def test_an_adapter_of_one_ratio_keeps_the_keys_it_had(engine):
    written = engine.prompt_format.document(TEXT)
    old = engine.store.key_for(fingerprint=engine.fingerprint, text=written)
    assert engine.key_of(TEXT) == old
    assert engine.key_of(Document(text=TEXT, ratio=5)) == old
    with pytest.raises(ConfigError, match=r"asked for ratio 15, this compressor was trained for 5"):
        engine.compress(Document(text=TEXT, ratio=15))
