"""Text to ids, from several threads at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

TEXT = "<|user|>Who?<|assistant|>"


@pytest.fixture
def hasty_threads():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_do_not_read_each_others_special_tokens(hasty_threads):
    """A document's special-token strings stay text while another thread renders a chat."""
    tokens = Tokens(byte_tokenizer())
    text, chat = tokens.encode(TEXT), tokens.encode_template(TEXT)
    assert len(text) == len(TEXT)
    assert len(chat) == len("Who?") + 2
    with ThreadPoolExecutor(4) as threads:
        roads = [tokens.encode, tokens.encode_template] * 1000
        found = list(threads.map(lambda road: road(TEXT), roads))
    assert found == [text, chat] * 1000
