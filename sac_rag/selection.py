"""Which tokens of a chunk become its anchors (arXiv:2510.08907, section 3 and Table 4).

A selector takes a chunk and a ratio and gives ascending local indices, (A,) int64, as many as
the uniform choice would, so that every selector costs the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from zlib import crc32

import torch
from torch import Tensor

from sac_rag.chunking import Chunk
from sac_rag.errors import ConfigError
from sac_rag.layout import midpoint_indices, num_anchors

Selector = Callable[[Chunk, int], Tensor]

IMPORTANCE = "importance"
"""Name of the selector that needs a scorer, see ``sac_rag.importance``."""


class Scorer(Protocol):
    """Says of each token of a chunk how much it matters."""

    @property
    def identity(self) -> str:
        """What tells its scores from another scorer's; part of every fingerprint."""
        ...

    def __call__(self, chunk: Chunk) -> Tensor:
        """Give one number per token, (T,); higher is kept."""
        ...


def uniform_midpoint(chunk: Chunk, ratio: int) -> Tensor:
    """Take the middle token of each run of ``ratio`` tokens: the paper's default; indices, (A,)."""
    return midpoint_indices(len(chunk), ratio)


def chunk_last(chunk: Chunk, ratio: int) -> Tensor:
    """Take the chunk's last tokens: the authors' chunk-last-token experiment; indices, (A,)."""
    return torch.arange(len(chunk) - num_anchors(len(chunk), ratio), len(chunk))


def random_positions(chunk: Chunk, ratio: int) -> Tensor:
    """Take tokens at random, the same ones whenever the same chunk comes; indices, (A,)."""
    seed = crc32(chunk.token_ids.to("cpu", torch.int64).numpy().tobytes(), chunk.start)
    order = torch.randperm(len(chunk), generator=torch.Generator().manual_seed(seed))
    return order[: num_anchors(len(chunk), ratio)].sort().values


def by_importance(score: Callable[[Chunk], Tensor]) -> Selector:
    """Make a selector that takes the tokens with the highest scores of the whole chunk.

    Free to crowd where the chunk says much: a choice within each run of ``ratio`` tokens would
    stay near the uniform one. Of equal scores the earlier token is taken (a classifier of words
    gives all tokens of a word one score), so that the same chunk has the same anchors anywhere.

    Args:
        score: Gives one number per token of a chunk, (T,); higher is kept.

    Returns:
        A selector that raises ``ConfigError`` if the scorer gives another shape than (T,).
    """

    def select(chunk: Chunk, ratio: int) -> Tensor:
        scores_T = score(chunk)
        if scores_T.shape != (len(chunk),):
            raise ConfigError(
                f"the importance scorer gave shape {tuple(scores_T.shape)} for a chunk of "
                f"{len(chunk)} tokens; it must give one score per token"
            )
        order_T = scores_T.cpu().sort(descending=True, stable=True).indices
        return order_T[: num_anchors(len(chunk), ratio)].sort().values

    return select


SELECTORS: dict[str, Selector] = {
    "uniform": uniform_midpoint,
    "random": random_positions,
    "chunk-last": chunk_last,
}


SELECTOR_NAMES = (*SELECTORS, IMPORTANCE)


def selector_named(name: str, scorer: Scorer | None = None) -> Selector:
    """Look a selector up.

    Args:
        name: One of ``SELECTOR_NAMES``.
        scorer: For ``importance``, who scores.

    Raises:
        ConfigError: If no selector has that name, or ``importance`` comes without a scorer.
    """
    if name == IMPORTANCE:
        if scorer is None:
            raise ConfigError(
                "selector=importance was given no scorer; make one with "
                "sac_rag.importance.scorer_for, as Adapter does"
            )
        return by_importance(scorer)
    if name not in SELECTORS:
        raise ConfigError(
            f"no selector is called {name!r}; choose from {', '.join(SELECTOR_NAMES)}"
        )
    return SELECTORS[name]
