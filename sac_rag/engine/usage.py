"""What an answer took: counted and timed, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sac_rag.generation import Completion


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Counts in tokens, sizes in bytes, times in seconds."""

    prompt_tokens: int
    """Plain text tokens of the prompt, documents in full included, anchors not."""
    anchors: int
    """Anchors in the cache."""
    source_tokens: int
    """Tokens of the documents that the anchors stand for."""
    ratio: float | None
    """``source_tokens / anchors`` as it came out; None without anchors."""
    anchors_loaded: int
    """Anchors that came from the store, or were given."""
    anchors_encoded: int
    """Anchors that had to be encoded now."""
    cache_bytes: int
    """Keys and values that the decoder starts from: anchors and prompt."""
    encode_s: float
    """Encoding documents; in a batch, this request's share by tokens."""
    load_s: float
    """Reading anchors from the store."""
    prefill_s: float
    """From the laid-out request to its first token: time to first token, encoding apart."""
    decode_s: float
    """From the first token to the last."""
    completion_tokens: int
    """Tokens generated, the end token included."""
    finish_reason: str
    """``stop`` or ``length``."""

    @classmethod
    def of(cls, completion: Completion, counts: Mapping[str, Any]) -> Usage:
        """Put together what was known before decoding and what decoding took."""
        return cls(
            **counts,
            cache_bytes=completion.cache_bytes,
            prefill_s=completion.prefill_s,
            decode_s=completion.decode_s,
            completion_tokens=len(completion.token_ids),
            finish_reason=completion.finish_reason,
        )

    @property
    def total_tokens(self) -> int:
        """Positions the decoder held: anchors, text and answer."""
        return self.anchors + self.prompt_tokens + self.completion_tokens

    @property
    def ttft_s(self) -> float:
        """Seconds a user waits for the first token: encode, load and prefill."""
        return self.encode_s + self.load_s + self.prefill_s

    def to_dict(self) -> dict[str, int | float | str | None]:
        """Write it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The text, and what it took."""

    text: str
    """The answer alone, never the prompt."""
    usage: Usage
    """Counts, sizes and times."""
    stop_reason: str | None = None
    """The stop text that ended it, if one did."""

    def __str__(self) -> str:
        return self.text
