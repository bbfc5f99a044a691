"""Cut a text's token ids into chunks that are encoded apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sac_rag.errors import EmptyInputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Tokens encoded together, a sub-context of the paper, and how they are wanted."""

    token_ids: Tensor
    """(T,) int64."""
    start: int = 0
    """How many tokens of the text stand before it."""
    ratio: int | None = None
    """Tokens per anchor; None for the method's own. Chunks of one batch may differ."""
    question_ids: tuple[int, ...] = ()
    """Query-aware mode: what the encoder reads behind the chunk. No anchor is among it."""

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    @property
    def num_read(self) -> int:
        """Count what the encoder reads."""
        return len(self) + len(self.question_ids)

    @property
    def read_ids(self) -> Tensor:
        """Give what the encoder reads, (T + Q,): the chunk, and the question's Q ids behind it."""
        if not self.question_ids:
            return self.token_ids
        return torch.cat([self.token_ids, torch.tensor(self.question_ids)])


def split_chunks(
    token_ids: list[int] | Tensor,
    *,
    chunk_size: int,
    ratio: int | None = None,
    question_ids: Sequence[int] = (),
) -> list[Chunk]:
    """Cut a text into runs of ``chunk_size`` tokens; the last may be shorter, nothing is dropped.

    Args:
        token_ids: The text's tokens, (T,).
        chunk_size: Tokens per chunk.
        ratio: Tokens per anchor; None for the method's own.
        question_ids: Read behind every chunk in query-aware mode.

    Raises:
        EmptyInputError: If there are no tokens.

    >>> [(chunk.start, len(chunk)) for chunk in split_chunks(list(range(12)), chunk_size=5)]
    [(0, 5), (5, 5), (10, 2)]
    """
    ids_T = torch.as_tensor(token_ids, dtype=torch.int64)
    if ids_T.numel() == 0:
        raise EmptyInputError("cannot compress a text of 0 tokens; give a text with some content")
    return [
        Chunk(
            token_ids=part,
            start=index * chunk_size,
            ratio=ratio,
            question_ids=tuple(question_ids),
        )
        for index, part in enumerate(ids_T.split(chunk_size))
    ]
