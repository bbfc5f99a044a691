"""LlamaIndex' global settings, set for one LLM and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_index.core
from llama_index.core import Settings

if TYPE_CHECKING:
    from llama_index.llms.sac.base import SACLLM


class SettingsGuard:
    """Sets LLM, tokenizer and prompt helper at once; ``restore`` or leaving ``with`` undoes it.

    Args:
        llm: Gives all three.
    """

    def __init__(self, llm: SACLLM) -> None:
        tokenizer, prompt_helper = llm.tokenizer_fn, llm.prompt_helper()
        self._before = (
            Settings._llm,
            llama_index.core.global_tokenizer,
            Settings._prompt_helper,
        )
        Settings.llm = llm
        Settings.tokenizer = tokenizer
        Settings.prompt_helper = prompt_helper

    def restore(self) -> None:
        """Put back what was there before."""
        Settings._llm, llama_index.core.global_tokenizer, Settings._prompt_helper = self._before

    def __enter__(self) -> SettingsGuard:
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()
