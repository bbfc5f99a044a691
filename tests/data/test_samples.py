"""Samples hold what the model will see in use, token for token."""

from __future__ import annotations

from collections import Counter

import pytest

from sac_rag.data import (
    Passage,
    PretrainSettings,
    QARecord,
    QASettings,
    TextRecord,
    autoencoding_target,
)
from sac_rag.data.samples import pretraining_pairs, qa_samples
from sac_rag.engine.requests import Document
from sac_rag.errors import ConfigError
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

BOS, EOS = 0, 1


@pytest.fixture(scope="module")
def tokens():
    return Tokens(byte_tokenizer())


def _pairs(tokens, texts, **settings):
    left_out = Counter()
    records = [TextRecord(id=str(index), text=text) for index, text in enumerate(texts)]
    made = PretrainSettings(**settings)
    pairs = list(pretraining_pairs(records, tokens=tokens, settings=made, left_out=left_out))
    return pairs, left_out


def test_a_pair_is_the_text_cut_in_two(tokens):
    text = "abcdefg" * 100  # 700 tokens, one per byte
    (pair,), _ = _pairs(tokens, [text])
    assert pair["context_ids"][0] == BOS
    assert pair["target_ids"][-1] == EOS
    assert pair["context_ids"][1:] + pair["target_ids"][:-1] == tokens.encode(text)
    assert len(pair["context_ids"]) == 350 + 1
    assert autoencoding_target(pair["context_ids"], end=EOS) == [*pair["context_ids"], EOS]


def test_an_odd_token_goes_to_the_continuation(tokens):
    (pair,), _ = _pairs(tokens, ["x" * 511])
    assert (len(pair["context_ids"]) - 1, len(pair["target_ids"]) - 1) == (255, 256)


def test_the_papers_bounds_are_kept_and_counted(tokens):
    lengths = [509, 510, 2040, 2041, 6 * 2040 + 1, 0]
    pairs, left_out = _pairs(tokens, ["x" * length for length in lengths])
    assert [pair["id"] for pair in pairs] == ["1", "2"]
    assert [len(pair["context_ids"]) for pair in pairs] == [256, 1021]
    assert left_out == {"too short": 2, "too long": 2}


def test_a_limit_stops_the_reading(tokens):
    def endless():
        yield from (TextRecord(id="x", text="x" * 600) for _ in range(3))
        raise AssertionError("read on past the limit")

    settings = PretrainSettings(limit=3)
    made = pretraining_pairs(endless(), tokens=tokens, settings=settings, left_out=Counter())
    assert len(list(made)) == 3


RECORD = QARecord(
    id="q",
    documents=(Passage(text="It rains <|eos|>.", title="Weather"), Passage(text="Or not.")),
    question="Is it {dry}?",
    answers=("no", "never"),
    source="set",
)


def test_a_question_is_written_as_the_engine_writes_it(shared_engine):
    tokens, prompt = shared_engine.tokens, shared_engine.prompt_format
    settings = QASettings(prompt=prompt)
    (sample,) = qa_samples([RECORD], tokens=tokens, settings=settings, left_out=Counter())
    compressor = shared_engine._open().compressor
    assert sample["context_ids"] == [
        compressor.seen_ids(Document(text=one.text, title=one.title)) for one in RECORD.documents
    ]
    request = shared_engine.request(RECORD.question, [one.mapping for one in RECORD.documents])
    prompt_ids = shared_engine._open().prompts._text_ids(request, has_anchors=True)
    assert sample["question_ids"] == prompt_ids


def test_the_first_answer_is_taught_and_ends(tokens):
    (sample,) = qa_samples([RECORD], tokens=tokens, settings=QASettings(), left_out=Counter())
    assert sample["answer_ids"] == [*tokens.encode("no"), EOS]
    assert (sample["gold"], sample["source"], sample["id"]) == ("no", "set", "q")
    prefix = [BOS, *tokens.encode("### Context:\n")]
    assert all(ids[: len(prefix)] == prefix for ids in sample["context_ids"])


def test_no_context_is_cut_only_left_out_by_name(tokens):
    long = QARecord(
        id="long", documents=(Passage(text="x" * 5000),), question="?", answers=("a",), source="s"
    )
    (sample,) = qa_samples([long], tokens=tokens, settings=QASettings(), left_out=Counter())
    assert sample["context_ids"][0][-5000:] == tokens.encode("x" * 5000)
    left_out = Counter()
    settings = QASettings(max_context_tokens=100)
    assert not list(qa_samples([long], tokens=tokens, settings=settings, left_out=left_out))
    assert left_out == {"too long": 1}


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="two halves"):
        PretrainSettings(min_tokens=20, max_tokens=10)
    with pytest.raises(ConfigError, match="limit"):
        QASettings(limit=0)
