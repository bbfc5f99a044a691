"""What training reads: token ids, ready to be compressed and asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Documents that are compressed apart, and the text that is learned behind them."""

    documents: tuple[Sequence[int], ...]
    """Token ids of each document as the encoder reads it, BOS and prefix included."""
    prompt: Sequence[int] = ()
    """Plain tokens before the target; they carry no loss."""
    target: Sequence[int]
    """Tokens to be predicted, end token included."""
    gap: int = 0
    """Positions left free between documents and prompt, as if more documents stood there."""

    @property
    def num_tokens(self) -> int:
        """Tokens that encoder and decoder read, together."""
        return sum(map(len, self.documents)) + len(self.prompt) + len(self.target)
