"""Counting and packing prompts in which handles stand for documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from llama_index.core.indices.prompt_helper import DEFAULT_PADDING, PromptHelper

from sac_rag.errors import ContextOverflowError

if TYPE_CHECKING:
    from llama_index.core.llms import LLM
    from llama_index.core.prompts import BasePromptTemplate

    from sac_rag import SACEngine
    from sac_rag.tokens import Tokens

HANDLE = re.compile(r"⟦sac:1:(?P<key>[0-9a-f]{32}):(?P<anchors>[1-9][0-9]{0,8}):[0-9a-f]{16}⟧")
"""A handle by its looks, for counting; the engine checks signatures when it is used."""
NO_TOKEN = -1
TEMPLATE_TURNS = 2
"""Turns that the default prompts have: system and user."""


class HandleTokenizer:
    """Turns text to ids for counting; a handle gives as many ids as ``weigh`` says.

    Args:
        tokens: The engine's tokenizer.
        weigh: (a document's key, its anchors) to ids for its handle.
    """

    def __init__(self, tokens: Tokens, *, weigh: Callable[[str, int], int]) -> None:
        self._tokens = tokens
        self._weigh = weigh

    def __call__(self, text: str) -> list[int]:
        ids: list[int] = []
        end = 0
        for match in HANDLE.finditer(text):
            ids += self._plain(text[end : match.start()])
            ids += [NO_TOKEN] * self._weigh(match["key"], int(match["anchors"]))
            end = match.end()
        return ids + self._plain(text[end:])

    def _plain(self, text: str) -> list[int]:
        return self._tokens.encode(text) if text else []


def anchor_tokenizer(engine: SACEngine) -> HandleTokenizer:
    """Count a handle as its anchors: what the decoder's cache holds.

    It holds the tokenizer and no model, so it can be pickled for workers.
    """
    return HandleTokenizer(engine.tokens, weigh=_its_anchors)


def position_tokenizer(engine: SACEngine) -> HandleTokenizer:
    """Count a handle as the positions it takes in the window.

    Anchors keep the positions of their source tokens, so they save memory and time, not window.
    How many those are the engine's store knows: documents may stand in it at several ratios.
    """
    from sac_rag.engine import Stored

    @cache
    def positions(key: str, num_anchors: int) -> int:
        return engine.count_positions(Stored(key=key, num_anchors=num_anchors))

    return HandleTokenizer(engine.tokens, weigh=positions)


def _its_anchors(key: str, num_anchors: int) -> int:
    return num_anchors


class SACPromptHelper(PromptHelper):
    """Packs handles into prompts by the positions they take; never repeats or cuts one."""

    @classmethod
    def for_engine(
        cls, engine: SACEngine, *, window: int, num_output: int, chunk_size_limit: int | None
    ) -> SACPromptHelper:
        """Build the helper of an engine.

        Args:
            engine: Gives tokenizer, lengths of stored documents and chat template.
            window: Positions of a prompt with its answer.
            num_output: Of them, for the answer.
            chunk_size_limit: Most positions of context in one prompt; None for what fits.
        """
        return cls(
            context_window=window - template_tokens(engine),
            num_output=num_output,
            chunk_overlap_ratio=0.0,
            chunk_size_limit=chunk_size_limit,
            tokenizer=position_tokenizer(engine),  # pyright: ignore[reportCallIssue]
        )

    def repack(
        self,
        prompt: BasePromptTemplate,
        text_chunks: Sequence[str],
        padding: int = DEFAULT_PADDING,
        llm: LLM | None = None,
        tools: list[Any] | None = None,
    ) -> list[str]:
        """Join and split context to what fits one prompt.

        Raises:
            ContextOverflowError: If a single document does not fit.
        """
        # What refine pads for is an earlier answer, and none is longer than num_output.
        padding = min(padding, max(self.num_output, DEFAULT_PADDING))
        room = self._get_available_chunk_size(prompt, padding=padding, llm=llm, tools=tools)
        handles = {match[0] for text in text_chunks for match in HANDLE.finditer(text)}
        largest = max((self._token_counter.get_string_tokens(one) for one in handles), default=0)
        if largest > room:
            raise ContextOverflowError(
                f"a document takes {largest} positions of the window, and prompt, answer "
                f"({self.num_output}) and padding leave {room} of {self.context_window}; split "
                "documents smaller before compressing, or lower max_new_tokens",
                requested=largest,
                available=room,
            )
        return super().repack(prompt, text_chunks, padding=padding, llm=llm, tools=tools)


def template_tokens(engine: SACEngine) -> int:
    """Count what a chat template and BOS add around the texts of a prompt."""
    if not engine.tokens.has_chat_template:
        return 1
    empty = engine.tokens.render_chat([{"role": "user", "content": ""}])
    return 1 + TEMPLATE_TURNS * len(engine.tokens.encode_template(empty))
