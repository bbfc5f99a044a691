"""An engine whose store rounds anchors: the same answer fresh and stored, and good anchors win."""

from __future__ import annotations

import pytest
import torch

from sac_rag import SACEngine, open_store
from sac_rag.codecs import PCACodec, fit_pca
from sac_rag.engine.requests import Stored
from sac_rag.errors import AnchorNotFoundError, ConfigError
from sac_rag.store import AnchorStore, MemoryByteStore

TEXTS = ["The Lune is a long river of the north.", "Bellford was founded in 1204 by monks."]


def engine_on(folders, store):
    base, adapter = folders
    return SACEngine.from_pretrained(base, adapter=adapter, store=store)


@pytest.mark.parametrize("codec", ["exact", "bf16", "int8", "int4", "pca"])
def test_a_fresh_answer_is_the_stored_answer(tiny_folders, shared_engine, codec, tmp_path):
    if codec == "pca":
        sample = shared_engine.compress([f"{text} {n}" for n in range(20) for text in TEXTS])
        codec = PCACodec(fit_pca(sample, inv_freq=shared_engine.inv_freq, bits=3))
    caches, answers = [], []
    for _ in range(2):
        with engine_on(tiny_folders, open_store(tmp_path, codec=codec)) as engine:
            answers.append(engine.answer("How long?", TEXTS, 8))
            caches.append(engine.compress(TEXTS[0]))
    fresh, stored = answers
    assert fresh.usage.anchors_encoded == stored.usage.anchors_loaded > 0
    assert fresh.text == stored.text
    assert torch.equal(caches[0].keys, caches[1].keys)
    exact = shared_engine.compress(TEXTS[0])
    assert torch.equal(caches[0].keys, exact.keys) == (codec == "exact")


def test_an_engine_that_wants_exact_anchors_never_gets_rounded_ones(tiny_folders, shared_engine):
    place = MemoryByteStore()
    coarse, fine = AnchorStore(place, codec="int4"), AnchorStore(place)
    with engine_on(tiny_folders, coarse) as engine:
        [handle] = engine.issue([TEXTS[0]])
    with engine_on(tiny_folders, fine) as engine:
        [one] = engine.compress_each([TEXTS[0]])
        assert one.encoded
        assert torch.equal(one.cache.keys, shared_engine.compress(TEXTS[0]).keys)
        assert not engine.compress_each([TEXTS[0]])[0].encoded
        # the handle of the rounded entry stands for the text, whatever wrote its anchors
        [segment] = [one for one in engine.resolve(str(handle)) if isinstance(one, Stored)]
        assert torch.equal(engine.compress(segment).keys, one.cache.keys)
        place.mdelete([f"text/{one.key}"])
        coarse.put(str(one.key), one.cache, inv_freq=engine.inv_freq)
        with pytest.raises(AnchorNotFoundError, match="neither anchors as fine as exact nor its"):
            engine.compress(segment)
        engine.compress(TEXTS[0])
    with engine_on(tiny_folders, coarse) as engine:
        [again] = engine.compress_each([TEXTS[0]])
        assert not again.encoded
        assert torch.equal(again.cache.keys, one.cache.keys)


def test_a_codec_by_name_is_that_of_the_store(tiny_folders, tmp_path):
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter, store=tmp_path / "a", codec="int4") as named:
        found = named.compress(TEXTS[0])
        assert named.store.codec == "int4"
        [entry] = named.store.entries()
        assert entry.codec == "int4"
        place = named.store
        with SACEngine.from_pretrained(base, adapter, store=place, codec="int4") as shared:
            assert shared.store is place
        with pytest.raises(ConfigError, match="open already"):
            SACEngine.from_pretrained(base, adapter, store=place, codec="int8")
    with engine_on(tiny_folders, open_store(tmp_path / "b", codec="int4")) as opened:
        assert torch.equal(opened.compress(TEXTS[0]).keys, found.keys)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("int5", "did you mean 'int"),
        ("INT8", "did you mean 'int8'"),
        ("pcs:basis", "did you mean 'pca'"),
        ("zip", "unknown codec 'zip'; choose from exact"),
        ("pca", "fit-basis"),
    ],
)
def test_a_codec_that_is_not_there_is_told_before_a_model_is_loaded(name, told):
    with pytest.raises(ConfigError, match=told):
        SACEngine.from_pretrained("no such model", codec=name)
