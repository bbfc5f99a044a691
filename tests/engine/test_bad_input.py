"""Bad input gets an error that names the way out, or works."""

from __future__ import annotations

import pytest
import torch

from sac_rag.errors import (
    ConfigError,
    ContextOverflowError,
    CorruptEntryError,
    EmptyInputError,
    InvalidTextError,
    SACError,
    UnsupportedModelError,
)


@pytest.mark.parametrize("document", ["", "   \n\t ", {"text": " "}, {"text": "", "title": "x"}])
def test_empty_documents_are_refused(shared_engine, document):
    with pytest.raises(EmptyInputError, match="holds no text"):
        shared_engine.answer("What?", [document])
    with pytest.raises(EmptyInputError):
        shared_engine.compress(document)


@pytest.mark.parametrize("question", ["", " \n "])
def test_empty_questions_are_refused(shared_engine, question):
    with pytest.raises(EmptyInputError, match="question is empty"):
        shared_engine.answer(question, ["a document"])


def test_one_character_works(shared_engine):
    answer = shared_engine.answer("?", ["x"], max_new_tokens=2)
    assert answer.usage.anchors >= 1


def test_no_documents_at_all_is_a_plain_question(shared_engine):
    answer = shared_engine.answer("Anything?", [], max_new_tokens=2)
    assert answer.usage.anchors == 0
    assert answer.usage.ratio is None


def test_a_document_of_200_000_tokens_compresses_and_does_not_fit_the_window(shared_engine):
    text = "0123456789" * 20_000
    cache = shared_engine.compress(text)
    assert cache.num_tokens > 200_000
    assert len(cache) == shared_engine.count_anchors(text)
    assert cache.positions[-1] > 199_990
    with pytest.raises(ContextOverflowError, match=r"the model has 4096; give fewer") as caught:
        shared_engine.answer("What?", [cache])
    assert caught.value.requested > 200_000
    assert caught.value.available == 4096


def test_a_prompt_over_the_window_is_refused_with_numbers(shared_engine):
    with pytest.raises(ContextOverflowError, match="for text"):
        shared_engine.answer("long " * 1000, ["short"])
    with pytest.raises(ContextOverflowError, match="max_new_tokens"):
        shared_engine.answer("What?", ["short"], max_new_tokens=5000)


def test_text_that_is_no_unicode_is_refused(shared_engine):
    with pytest.raises(InvalidTextError, match="character 4 is the lone surrogate"):
        shared_engine.compress("what\ud800")
    with pytest.raises(InvalidTextError):
        shared_engine.answer("what\udfff?", ["a document"])


def test_special_token_strings_in_documents_are_plain_text(shared_engine):
    for text in ("<|eos|>", "a <|bos|><|eos|> b", "<|pad|>"):
        ids = shared_engine.tokens.encode(text)
        assert not set(ids) & set(shared_engine.tokens.tokenizer.all_special_ids)
        assert shared_engine.tokens.decode(ids) == text


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"txt": "x"}, ConfigError),
        ({"text": "x", "url": "y"}, ConfigError),
        (17, TypeError),
        (None, TypeError),
        (b"bytes", TypeError),
    ],
)
def test_strange_documents_are_refused(shared_engine, document, error):
    with pytest.raises(error, match="a document"):
        shared_engine.answer("What?", [document])


def test_unknown_settings_are_refused(shared_engine):
    with pytest.raises(TypeError, match="unknown generation setting temprature"):
        shared_engine.answer("What?", ["x"], temprature=1)


def test_a_foreign_cache_is_refused(shared_engine):
    from dataclasses import replace

    cache = shared_engine.compress("a text")
    foreign = replace(cache, fingerprint="f" * 64)
    with pytest.raises(SACError, match="comes from compressor ffffffffffff"):
        shared_engine.answer("What?", [cache, foreign])


def test_a_damaged_entry_is_encoded_again_and_never_served(engine, caplog):
    right = engine.compress("a text worth keeping")
    [key] = engine.store.keys()
    [blob] = engine.store.backend.mget(["anchors/" + key])
    spoilt = bytearray(blob)
    spoilt[-5] ^= 1
    engine.store.backend.mset([("anchors/" + key, bytes(spoilt))])
    with pytest.raises(CorruptEntryError):
        engine.store.get(key)
    again = engine.compress("a text worth keeping")
    assert torch.equal(again.keys, right.keys)
    assert "damaged and will be encoded again" in caplog.text
    assert torch.equal(engine.store.get(key).keys, right.keys)


def test_wrong_names_are_refused(tiny_folders):
    from sac_rag import SACEngine

    base, adapter = tiny_folders
    with pytest.raises(ConfigError, match="unknown dtype 'fp8'"):
        SACEngine.from_pretrained(base, adapter=adapter, dtype="fp8")
    with pytest.raises(SACError, match="no model that can be loaded"):
        SACEngine.from_pretrained(base.parent / "nowhere")


def test_an_unsupported_model_is_refused_before_its_weights_are_read(tmp_path):
    from transformers import GPT2Config

    from sac_rag import SACEngine

    GPT2Config(n_layer=2, n_embd=32, n_head=2).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="gpt2"):
        SACEngine.from_pretrained(tmp_path)
