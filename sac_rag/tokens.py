"""Text to token ids and back. Document text is data: special-token strings in it are plain text."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sac_rag.errors import InvalidTextError

_TOKENIZING = threading.Lock()
"""Held while text becomes ids: whether special tokens are parsed is a switch on the tokenizer, set
by each call, so that a call in another thread would be read by this one's setting."""


class Tokens:
    """A tokenizer that never adds special tokens and never parses them out of text.

    Args:
        tokenizer: A transformers tokenizer.
        eos_ids: Ids that end an answer; by default the tokenizer's own.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, eos_ids: Sequence[int] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        own_eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]  # type: ignore[arg-type]
        self.eos_ids: list[int] = list(eos_ids) if eos_ids else own_eos
        self.bos_id: int | None = _as_id(tokenizer.bos_token_id)
        pad_id = _as_id(tokenizer.pad_token_id)
        self.pad_id: int = pad_id if pad_id is not None else (self.eos_ids or [0])[0]
        self._special_ids = frozenset(tokenizer.all_special_ids)

    @classmethod
    def from_pretrained(cls, path_or_id: str | Path, **hub: object) -> Tokens:
        """Load a tokenizer from a folder or the hub (keywords as transformers takes them)."""
        return cls(AutoTokenizer.from_pretrained(str(path_or_id), **hub))

    def encode(self, text: str) -> list[int]:
        """Turn text into ids; no special token comes out, whatever the text says.

        Raises:
            InvalidTextError: If the text holds lone surrogates, i.e. is not valid Unicode.
        """
        check_text(text)
        return self._ids(text, split_special_tokens=True)

    def encode_template(self, text: str) -> list[int]:
        """Turn a rendered chat template into ids; its special tokens count as such."""
        check_text(text)
        return self._ids(text, split_special_tokens=False)

    def _ids(self, text: str, *, split_special_tokens: bool) -> list[int]:
        with _TOKENIZING:
            return self.tokenizer(
                text,
                add_special_tokens=False,
                split_special_tokens=split_special_tokens,
                verbose=False,
            )["input_ids"]  # type: ignore[return-value]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn ids into text; special tokens leave no trace, spaces stay as they are."""
        plain = [token_id for token_id in token_ids if token_id not in self._special_ids]
        text = self.tokenizer.decode(plain, clean_up_tokenization_spaces=False)
        return text if isinstance(text, str) else "".join(text)

    def count(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(self.encode(text))

    @property
    def has_chat_template(self) -> bool:
        """Whether messages can be rendered."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def render_chat(self, messages: Sequence[dict[str, str]]) -> str:
        """Render messages (``role``, ``content``) up to where the assistant speaks."""
        return self.tokenizer.apply_chat_template(  # type: ignore[return-value]
            list(messages), tokenize=False, add_generation_prompt=True
        )


def check_text(text: str) -> None:
    """Refuse text that UTF-8 cannot write.

    Raises:
        InvalidTextError: If it holds lone surrogates.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"the text is not valid Unicode: character {error.start} is the lone surrogate "
            f"{text[error.start]!r}; read the file with errors='replace', or mend its encoding"
        ) from error


def _as_id(token_id: object) -> int | None:
    return int(token_id) if isinstance(token_id, int) else None
