"""Where everything stands: positions of context, anchors, task token and prompt.

Follows the authors' released code (SAC, arXiv:2510.08907): context ids count from 1, globally over
a text's chunks; anchors sit at local index ``floor((r - 1) / 2) + k * r``; the [LM] task token
takes the id of the last context token; the prompt goes on from there. Position 0 is free for a
sink. Nothing else in the library knows these numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

SINK_POSITION = 0


def context_positions(start: int, num_tokens: int) -> Tensor:
    """Give the position ids of ``num_tokens`` context tokens that follow ``start`` others.

    >>> context_positions(510, 3).tolist()
    [511, 512, 513]
    """
    return torch.arange(start + 1, start + num_tokens + 1)


def question_positions(start: int, num_tokens: int, num_question_tokens: int) -> Tensor:
    """Give the ids of a question that the encoder reads behind a chunk (query-aware mode).

    It goes on right behind the chunk's last token, as the prompt goes on behind a text, whatever
    else of the text follows: so the chunk, moved, is still the same chunk with the same question
    at the same distance, and its anchors relocate exactly. They keep their own positions. Our
    choice: the published figure for this mode comes without a layout.

    >>> question_positions(510, 3, 2).tolist()
    [514, 515]
    """
    return context_positions(start + num_tokens, num_question_tokens)


def task_position(num_context_tokens: int) -> int:
    """Give the position of the [LM] task token: that of the last context token."""
    return num_context_tokens


def prompt_positions(num_context_tokens: int, num_prompt_tokens: int) -> Tensor:
    """Give the position ids of the prompt's text, right behind the context.

    >>> prompt_positions(510, 2).tolist()
    [511, 512]
    """
    first = num_context_tokens + 1
    return torch.arange(first, first + num_prompt_tokens)


def midpoint_indices(num_tokens: int, ratio: int) -> Tensor:
    """Give the local indices of a chunk's anchors: the middle of each run of ``ratio`` tokens.

    A text shorter than half a run keeps its first token, so there is always one anchor.

    Odd multiples nest: 15 = 3 * 5 takes every third anchor of 5 (7 + 15k among 2 + 5k), and 255
    takes some of 5, 15 and 51 alike; 51 itself (25 + 51k) shares only one in five with 5. Where
    they nest, the tokens are the same, their keys and values are not: each ratio is its own pass
    of the encoder, with marks on its own anchors.

    >>> midpoint_indices(10, ratio=5).tolist()
    [2, 7]
    >>> midpoint_indices(2, ratio=5).tolist()
    [0]
    """
    middle = (ratio - 1) // 2
    return torch.arange(middle if middle < num_tokens else 0, num_tokens, ratio)


def slots_of(places_A: Tensor, finest: int) -> Tensor:
    """Give the slot of anchors by their place in the chunk: the run of ``finest`` tokens it is in.

    At the finest ratio these are 0, 1, 2, ..., as in an adapter of that ratio alone.

    >>> slots_of(midpoint_indices(30, ratio=5), 5).tolist()
    [0, 1, 2, 3, 4, 5]
    >>> slots_of(midpoint_indices(30, ratio=15), 5).tolist()
    [1, 4]
    """
    return places_A // finest


def num_anchors(num_tokens: int, ratio: int) -> int:
    """Count a chunk's anchors (see ``midpoint_indices``).

    >>> num_anchors(510, ratio=5), num_anchors(7, ratio=5), num_anchors(1, ratio=51)
    (102, 1, 1)
    >>> num_anchors(8, ratio=5)
    2
    """
    middle = (ratio - 1) // 2
    return max(1, (num_tokens - 1 - middle) // ratio + 1)


def restarted_positions(num_tokens: int, num_memory: int) -> tuple[Tensor, Tensor]:
    """Give a chunk's context and memory ids in the default layout: 0, 1, ... in every chunk.

    As ICAE and 500xCompressor have it (arXiv:2307.06945, arXiv:2408.03094).

    >>> [ids.tolist() for ids in restarted_positions(3, 2)]
    [[0, 1, 2], [3, 4]]
    """
    ids = torch.arange(num_tokens + num_memory)
    return ids[:num_tokens], ids[num_tokens:]


def num_anchors_of_text(num_tokens: int, *, ratio: int, chunk_size: int) -> int:
    """Count the anchors of a text that is cut into chunks of ``chunk_size`` tokens.

    >>> num_anchors_of_text(511, ratio=5, chunk_size=510)
    103
    """
    full, tail = divmod(num_tokens, chunk_size)
    return full * num_anchors(chunk_size, ratio) + (num_anchors(tail, ratio) if tail else 0)


def max_tokens_of_anchors(num_anchors_in_all: int, *, ratio: int, chunk_size: int) -> int:
    """Give the most tokens of one text that so many anchors can stand for.

    Anchors keep their source positions, so this bounds the place they take in a model's window.

    >>> max_tokens_of_anchors(103, ratio=5, chunk_size=510)
    517
    >>> max_tokens_of_anchors(102, ratio=5, chunk_size=510)
    510
    """
    full, tail = divmod(num_anchors_in_all, num_anchors(chunk_size, ratio))
    return full * chunk_size + (min(tail * ratio + (ratio - 1) // 2, chunk_size) if tail else 0)
