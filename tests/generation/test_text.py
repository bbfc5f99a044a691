"""Pieces of text join to the answer, whatever the tokens; stop texts are matched on text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.generation import TextStream
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

TOKENS = Tokens(byte_tokenizer())
TEXT = st.text(alphabet="ab é漢🙂\n.", max_size=40)


def run(text: str, stop=(), *, eos: bool = True) -> tuple[TextStream, str]:
    stream = TextStream(TOKENS, stop=stop)
    shown = ""
    for token_id in [*TOKENS.encode(text), *(TOKENS.eos_ids if eos else [])]:
        if stream.finish_reason is None:
            shown += stream.push(token_id)
    return stream, shown + stream.finish()


@given(TEXT)
def test_pieces_join_to_the_whole_text(text):
    stream, shown = run(text)
    assert shown == stream.text == text
    assert stream.finish_reason == "stop"
    assert stream.stop_reason is None


@given(TEXT, st.lists(st.text(alphabet="ab é漢", min_size=1, max_size=4), min_size=1, max_size=3))
@settings(max_examples=200)
def test_the_answer_ends_before_the_first_stop_text(text, stop):
    stream, shown = run(text, stop)
    spots = [text.find(one) for one in stop if one in text]
    expected = text
    if spots:
        # the stop text that is complete first ends the answer
        ends = min((text.find(one) + len(one), text.find(one)) for one in stop if one in text)
        expected = text[: ends[1]]
        assert stream.stop_reason in stop
    assert shown == stream.text
    assert text.startswith(shown)
    assert not any(one in shown for one in stop)
    assert len(shown) <= len(expected) or not spots


def test_a_stop_text_across_tokens_at_the_very_start():
    stream, shown = run("STOPnow", ["STOP"])
    assert shown == ""
    assert stream.stop_reason == "STOP"


def test_a_partial_stop_text_at_the_end_is_shown():
    _, shown = run("it says ST", ["STOP"])
    assert shown == "it says ST"


def test_no_half_characters_are_shown():
    stream = TextStream(TOKENS)
    pieces = [stream.push(token_id) for token_id in TOKENS.encode("🙂")]
    assert pieces == ["", "", "", "🙂"]


def test_an_answer_cut_within_a_character_ends_in_the_replacement_mark():
    stream = TextStream(TOKENS)
    for token_id in TOKENS.encode("a🙂")[:-1]:
        stream.push(token_id)
    stream.finish()
    assert stream.text.startswith("a")
    assert stream.text.endswith("\ufffd")
    assert stream.finish_reason == "length"
