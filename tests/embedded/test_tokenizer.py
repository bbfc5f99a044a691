"""The embedded tokenizer: nothing is lost, and pieces laid behind each other are the whole."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import phrases
import pytest
from build_tokenizer import save
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

SHIPPED = Path(__file__).parents[2] / "sac_rag" / "embedded" / "nano"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(SHIPPED)


def _ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def test_the_shipped_files_are_what_the_script_writes(tmp_path):
    save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_text("utf-8") == (SHIPPED / name).read_text("utf-8")


# the word-boundary mark itself reads back as the space it stands for
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))


@given(text=TEXTS)
@settings(deadline=None)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(_ids(tokenizer, text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "  two  spaces ",
        "\n\nlead\n x\n\n",
        "a\n",
        "🎉 漢字",
        "tab\tx\r\n y",
        "<|eos|> hi",
        "\n \n",
        " ",
    ],
)
def test_awkward_text_comes_back(tokenizer, text):
    assert tokenizer.decode(_ids(tokenizer, text)) == text


@given(head=TEXTS, tail=TEXTS)
@settings(deadline=None)
def test_pieces_that_end_in_a_newline_join_to_the_whole(tokenizer, head, tail):
    whole = _ids(tokenizer, f"{head}x\n### Question:\n{tail.strip()}x")
    apart = [f"{head}x", "\n### Question:\n", f"{tail.strip()}x"]
    assert whole == [token for piece in apart for token in _ids(tokenizer, piece)]


def test_every_name_is_two_tokens_and_reads_as_it_was_made(tokenizer):
    ends = phrases.ENDS + phrases.SURNAME_ENDS
    names = [start + end for start, end in product(phrases.STARTS, ends)]
    cut = tokenizer(names, add_special_tokens=False)["input_ids"]
    wanted = [[f"▁{start}", end] for start, end in product(phrases.STARTS, ends)]
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in cut] == wanted


def test_it_survives_saving(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    text = "# Dunside\n\nIt was founded in 1879 by  Ada Barcrane."
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert _ids(again, text) == _ids(tokenizer, text)
    assert again.chat_template == tokenizer.chat_template


def test_chat_turns_are_written_as_the_model_was_trained(tokenizer):
    turns = [
        {"role": "system", "content": "Short."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ada"},
        {"role": "user", "content": "When?"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|bos|>Short.\n### Question:\nWho?\n### Answer:\nAda\n### Question:\nWhen?\n### Answer:\n"
    )
