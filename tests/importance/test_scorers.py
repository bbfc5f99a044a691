"""Scorers give one number a token, matched by character, and never two scorers one fingerprint."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sac_rag import SACEngine
from sac_rag.adapter import Adapter
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.engine.loading import load_base
from sac_rag.errors import ConfigError, ModelNotFoundError
from sac_rag.importance import KeepClassifier, LLMLingua2, Surprisal, scorer_for
from sac_rag.importance.spans import token_spans
from sac_rag.layout import num_anchors
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer, tiny_adapter, tiny_model
from tests.tiny_classifier import write_classifier

TOKENS = Tokens(byte_tokenizer())
TEXT = "The mill has a wheel. Café 🙂 is long."


def chunk_of(text: str, *, bos: bool = True) -> Chunk:
    ids = TOKENS.encode(text)
    return Chunk(token_ids=torch.tensor([0, *ids] if bos else ids))


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=25))
def test_tokens_spell_their_text(text):
    ids = [0, *TOKENS.encode(text)]
    spelled, spans = token_spans(ids, TOKENS)
    assert spelled == text
    assert spans[0] == (0, 0)
    # every byte of a character has its place
    places = [place for place, letter in enumerate(text) for _ in letter.encode()]
    assert [start for start, _ in spans[1:]] == places


def test_spans_of_the_embedded_tokenizer_are_its_own():
    _, tokens = load_base("embedded", dtype="float32")
    text = "Bellford lies on the  Lune.\nIts mill dates from 1204."
    encoded = tokens.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spelled, spans = token_spans(encoded["input_ids"], tokens)
    assert spelled == text
    assert [text[a:b].strip() for a, b in spans] == [
        text[a:b].strip() for a, b in encoded["offset_mapping"]
    ]


def test_surprisal_is_the_models_loss():
    model, chunk = tiny_model(), chunk_of(TEXT)
    scores = Surprisal(Backbone(model))(chunk)
    with torch.no_grad():
        logits = model(input_ids=chunk.token_ids[None]).logits[0]
    assert scores[0] == 0
    expected = cross_entropy(logits[:-1], chunk.token_ids[1:], reduction="none")
    torch.testing.assert_close(scores[1:], expected, atol=1e-4, rtol=1e-4)


def test_surprisal_asks_the_frozen_model():
    adapter = tiny_adapter(tiny_model())
    bare = Surprisal(Backbone(tiny_model()))(chunk_of(TEXT))
    assert torch.equal(Surprisal(adapter.backbone)(chunk_of(TEXT)), bare)


def test_a_token_scores_as_the_word_it_stands_in(classifier):
    scores = LLMLingua2(classifier, TOKENS)(chunk_of(TEXT))
    expected = [0.0]  # BOS
    words = classifier.words(TEXT)
    for place, letter in enumerate(TEXT):
        [keep] = [word.keep for word in words if word.start <= place < word.end] or [0.0]
        expected += [keep] * len(letter.encode())
    assert scores.tolist() == pytest.approx(expected)


def _config(**scorer) -> CompressConfig:
    return CompressConfig(ratio=5, selector="importance", **scorer)


@pytest.fixture
def saved(tiny_folders, classifier_folder, tmp_path):
    """Folders of one adapter, by the scorer that its config names."""
    scorers = {
        "surprisal": {"scorer": "surprisal"},
        "llmlingua2": {"scorer": "llmlingua2", "scorer_model": str(classifier_folder)},
    }
    model, _ = load_base(tiny_folders[0], dtype="float32")
    made = tiny_adapter(model)
    for name, scorer in scorers.items():
        made.config = replace(made.config, compress=_config(**scorer))
        made.save_pretrained(tmp_path / name)
    return {name: tmp_path / name for name in scorers}


@pytest.mark.parametrize("name", ["surprisal", "llmlingua2"])
def test_an_engine_takes_the_tokens_that_score_best(tiny_folders, saved, classifier, name):
    with SACEngine.from_pretrained(tiny_folders[0], adapter=saved[name]) as engine:
        cache = engine.compress(TEXT)
        seen = torch.tensor(engine.prompt_format.seen_ids(TEXT, tokens=engine.tokens))
        scorer = {
            "surprisal": Surprisal(engine.adapter.backbone),
            "llmlingua2": LLMLingua2(classifier, engine.tokens),
        }[name]
        scores = scorer(Chunk(token_ids=seen))
        picked = cache.positions - 1
        assert len(picked) == num_anchors(len(seen), 5)
        left = [place for place in range(len(seen)) if place not in set(picked.tolist())]
        assert scores[picked].min() >= scores[left].max()
        assert engine.answer("What?", [TEXT], 4).usage.anchors == len(picked)


def test_two_scorers_share_no_fingerprint(tiny_folders, saved, classifier_folder, tmp_path):
    def fingerprint(folder, **changes):
        model, tokens = load_base(tiny_folders[0], dtype="float32")
        adapter = Adapter.from_pretrained(folder, model=model, tokens=tokens)
        if changes:
            adapter.config = replace(adapter.config, compress=_config(**changes))
            adapter.save_pretrained(tmp_path / "changed")
            return fingerprint(tmp_path / "changed")
        return adapter.fingerprint()

    other = write_classifier(tmp_path / "other", seed=1)
    moved = write_classifier(tmp_path / "moved")
    lingua = fingerprint(saved["llmlingua2"])
    assert len({lingua, fingerprint(saved["surprisal"]), fingerprint(tiny_folders[1])}) == 3
    assert fingerprint(saved["llmlingua2"], scorer="llmlingua2", scorer_model=str(other)) != lingua
    # the same classifier elsewhere is the same scorer
    assert fingerprint(saved["llmlingua2"], scorer="llmlingua2", scorer_model=str(moved)) == lingua


def test_a_batch_takes_the_tokens_that_each_chunk_alone_does(tiny_folders, saved):
    model, tokens = load_base(tiny_folders[0], dtype="float32")
    method = Adapter.from_pretrained(saved["surprisal"], model=model, tokens=tokens).method
    chunks = [chunk_of(TEXT), chunk_of("Short."), chunk_of(TEXT * 3, bos=False)]
    for together, chunk in zip(method.compress_chunks(chunks), chunks, strict=True):
        assert torch.equal(together.positions, method.compress_chunk(chunk).positions)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"selector": "importance"}, "name a scorer"),
        ({"scorer": "surprisal"}, "use selector=importance"),
    ],
)
def test_a_scorer_and_its_selector_belong_together(given, match):
    with pytest.raises(ConfigError, match=match):
        CompressConfig(**given)


def test_what_cannot_be_scored_with_is_refused(classifier_folder, tmp_path):
    backbone = Backbone(tiny_model())
    with pytest.raises(ConfigError, match="choose from surprisal, llmlingua2"):
        scorer_for(_config(scorer="surprise"), backbone=backbone)
    with pytest.raises(ConfigError, match="leave scorer_model out"):
        scorer_for(_config(scorer="surprisal", scorer_model="x"), backbone=backbone)
    with pytest.raises(ConfigError, match="give tokens="):
        scorer_for(_config(scorer="llmlingua2"), backbone=backbone)
    gone = _config(scorer="llmlingua2", scorer_model=str(tmp_path / "gone"))
    with pytest.raises(ModelNotFoundError, match="no token classifier"):
        scorer_for(gone, backbone=backbone, tokens=TOKENS)


def test_a_classifier_is_known_by_weights_and_tokenizer(classifier_folder, tmp_path):
    again = KeepClassifier.from_pretrained(write_classifier(tmp_path / "again"))
    other = KeepClassifier.from_pretrained(write_classifier(tmp_path / "other", seed=1))
    first = KeepClassifier.from_pretrained(classifier_folder)
    assert first.identity == again.identity != other.identity
