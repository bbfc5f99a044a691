"""Micro's tokenizer: nothing is lost, answers are cut like the text, and two trainings agree."""

from __future__ import annotations

import bpe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens


@pytest.fixture(scope="module")
def tokens(data, tmp_path_factory) -> Tokens:
    folder = tmp_path_factory.mktemp("tokenizer")
    bpe.save(bpe.train(bpe.training_material(data), vocabulary=500), folder)
    return Tokens(AutoTokenizer.from_pretrained(folder))


def test_the_same_data_gives_the_same_file(data):
    first, second = (bpe.train(bpe.training_material(data), vocabulary=500) for _ in range(2))
    assert first.to_str() == second.to_str()


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_text_comes_back(tokens, text):
    assert tokens.decode(tokens.encode(text)) == text


@pytest.mark.parametrize(
    "text",
    ["  two  spaces ", "\n\nlead\n x\n\n", "a\n", "🎉 漢字", "tab\tx\r\n y", "<|eos|> hi", "\n \n"],
)
def test_awkward_text_comes_back_without_special_tokens(tokens, text):
    ids = tokens.encode(text)
    assert tokens.decode(ids) == text
    assert not set(ids) & set(tokens.tokenizer.all_special_ids)


def test_an_answer_has_the_tokens_that_it_has_in_the_text(tokens):
    text = "The old mill was built by Anna Brandt in 1931."
    for answer in ("Anna Brandt", "1931"):
        whole, part = tokens.encode(text), tokens.encode(answer)
        assert any(whole[i : i + len(part)] == part for i in range(len(whole)))


def test_each_digit_is_a_token(tokens):
    assert len(tokens.encode("1931")) == 4
    assert len(tokens.encode("in 1931")) == len(tokens.encode("in")) + 4


@given(tail=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1))
@settings(deadline=None)
def test_the_prefix_can_be_cut_off(tokens, tail):
    prefix = PromptFormat().context_prefix
    assert tokens.encode(prefix) + tokens.encode(tail) == tokens.encode(prefix + tail)


def test_a_chat_is_written_as_the_prompt_format_has_it(tokens):
    messages = [
        {"role": "system", "content": "### Context:\nIt rains."},
        {"role": "user", "content": "Does it?"},
    ]
    prompt = PromptFormat()
    written = prompt.document("It rains.") + prompt.question("Does it?")
    assert tokens.render_chat(messages) == "<|bos|>" + written
