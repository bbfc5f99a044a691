"""Show the decoder where to look while it learns what names are for.

To answer "Who founded Barwick?" among facts of the same kind, a value must know whose it is, and
the question must find the value that belongs to its name. Answers alone teach this late: until both
halves exist neither helps. The generator knows both places, so one head is told of them: in layer
``NAMING`` values (in the context) and answers (in the question) look at the name; in layer
``FINDING`` answers look at the value. Only the loss of the easy levels has these terms; the model
is a plain decoder before and after.

Shapes: B contexts, N questions each, Q tokens a question, M guided tokens of a context, J guided
tokens of a question, T context tokens, K head dimension, D model dimension.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fastlama as fl
import torch
import torch.nn.functional as F
from atlas import Question
from torch import Tensor

if TYPE_CHECKING:
    from curriculum import Coder

NAMING, FINDING = 1, 2
"""Layers, counted from 0, whose first head is guided."""
NOWHERE = -1
"""Stands at padding of the targets."""


@dataclass(frozen=True, kw_only=True)
class Gaze:
    """Where tokens of a batch should look; ``NOWHERE`` in a target is padding."""

    value: Tensor
    """Tokens of values in the context, (B, M)."""
    owner: Tensor
    """Last token of the name that each belongs to, in the context, (B, M)."""
    answer: Tensor
    """Tokens of the question that predict the answer's tokens, in the question, (B, N, J)."""
    asked: Tensor
    """Last token of the name asked about, in the question, (B, N, J)."""
    found: Tensor
    """The value's token that is to be predicted, in the context, (B, N, J)."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question of a batch and where it stands."""

    question: Question
    before: int
    """Characters of the context in front of its document's text."""
    name: int
    """Place of the name's last token among the question's tokens."""
    answer: int
    """Place of the token that predicts the answer's first."""


def place(coder: Coder, prompt: str, chosen: Sequence[tuple[Question, int]]) -> list[Asked]:
    """Say where questions of a context stand.

    Args:
        coder: The tokenizer.
        prompt: What stands around a question, which is put in for ``{}``.
        chosen: Questions, each with the characters of the context before its document's text.
    """
    placed = []
    for question, before in chosen:
        text = prompt.format(question.question)
        name_end = text.index(question.own_name) + len(question.own_name)
        placed.append(
            Asked(
                question=question,
                before=before,
                name=coder.place(text, name_end),
                answer=len(coder.ids(text)) - 1,
            )
        )
    return placed


def aim(starts: Sequence[Sequence[int]], asked: Sequence[Sequence[Asked]]) -> Gaze:
    """Say where a batch should look.

    Args:
        starts: For each context, where each of its tokens begins, in characters.
        asked: For each context, its questions.
    """
    found: list[list[list[int]]] = []
    owners: list[dict[int, int]] = []
    for begins, questions in zip(starts, asked, strict=True):
        rows, owned = [], {}
        for one in questions:
            first = one.before + one.question.value_start
            last = first + len(one.question.answer) - 1
            rows.append([*range(_token(begins, first), _token(begins, last) + 1)])
            owner = _token(begins, one.before + one.question.owner_end - 1)
            owned.update(dict.fromkeys(rows[-1], owner))
        found.append(rows)
        owners.append(owned)
    width = max(len(row) for rows in found for row in rows)
    most = max(map(len, owners))
    shape = (len(asked), len(asked[0]), width)
    answer, asked_at, found_at = (torch.full(shape, fill) for fill in (0, NOWHERE, NOWHERE))
    for b, (questions, rows) in enumerate(zip(asked, found, strict=True)):
        for n, (one, row) in enumerate(zip(questions, rows, strict=True)):
            answer[b, n, : len(row)] = one.answer + torch.arange(len(row))
            asked_at[b, n, : len(row)] = one.name
            found_at[b, n, : len(row)] = torch.tensor(row)
    value, owner = (
        torch.zeros(len(asked), most, dtype=torch.int64),
        torch.full((len(asked), most), NOWHERE),
    )
    for b, owned in enumerate(owners):
        value[b, : len(owned)] = torch.tensor(list(owned))
        owner[b, : len(owned)] = torch.tensor(list(owned.values()))
    return Gaze(value=value, owner=owner, answer=answer, asked=asked_at, found=found_at)


def _token(starts: Sequence[int], character: int) -> int:
    """Give the token that holds a character; the BOS before the text is token 0."""
    return bisect_right(starts, character)


def _head(
    x: Tensor, weights: list[Tensor], cos: Tensor, sin: Tensor, head_dim: int
) -> tuple[Tensor, Tensor]:
    """Give the first head's rotated queries and keys, (..., K)."""
    y = fl.norm(x, weights[0])
    queries, keys = (F.linear(y, w[:head_dim]).unsqueeze(-2) for w in weights[1:3])
    return fl.turn(queries, cos, sin).squeeze(-2), fl.turn(keys, cos, sin).squeeze(-2)


def _missed(scores: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(scores.float().flatten(0, -2), target.flatten(), ignore_index=NOWHERE)


def context_loss(x: Tensor, weights: list[Tensor], gaze: Gaze, head_dim: int) -> Tensor:
    """Give how much the values of contexts look elsewhere than at their names.

    Args:
        x: Hidden states that enter layer ``NAMING``, (B, T, D).
        weights: That layer's.
        gaze: Where to look.
        head_dim: K.
    """
    places = torch.arange(x.shape[1])
    cos, sin = fl.angles(places[None], head_dim)
    queries, keys = _head(x, weights, cos, sin, head_dim)
    rows = queries.gather(1, gaze.value[..., None].expand(-1, -1, head_dim))
    scores = rows @ keys.transpose(1, 2) * head_dim**-0.5
    later = places > gaze.value[..., None]
    return _missed(scores.masked_fill(later, fl.NEGATIVE), gaze.owner)


def gaze_loss(
    weights: dict[str, Tensor],
    gaze: Gaze,
    entering: tuple[list[Tensor], list[Tensor]],
    cache: list[tuple[Tensor, Tensor]],
    seen: Tensor,
    start: Tensor,
) -> Tensor:
    """Give how much a batch looks elsewhere, in layers ``NAMING`` and ``FINDING`` together.

    Args:
        weights: The decoder's.
        gaze: Where to look.
        entering: Hidden states that enter each layer, of contexts and of questions.
        cache: Each layer's rotated keys and values of the contexts, (B, T, G, K).
        seen: True where the context has a token, (B, T).
        start: Position of each question's first token, (B,).
    """
    reading, asking = entering
    head_dim, far = cache[0][0].shape[-1], cache[0][0].shape[1]
    naming, finding = (fl.layer_weights(weights, layer) for layer in (NAMING, FINDING))
    asked = (gaze.asked + far).where(gaze.asked != NOWHERE, NOWHERE)
    return (
        context_loss(reading[NAMING], naming, gaze, head_dim)
        + question_loss(
            asking[NAMING], naming, start, cache[NAMING][0], seen, gaze, asked, head_dim
        )
        + question_loss(
            asking[FINDING], finding, start, cache[FINDING][0], seen, gaze, gaze.found, head_dim
        )
    )


def question_loss(
    y: Tensor,
    weights: list[Tensor],
    start: Tensor,
    far_keys: Tensor,
    seen: Tensor,
    gaze: Gaze,
    target: Tensor,
    head_dim: int,
) -> Tensor:
    """Give how much the answers look elsewhere than at ``target``.

    Args:
        y: Hidden states of the questions that enter the layer, (B, N, Q, D).
        weights: That layer's.
        start: Position of each question's first token, (B,).
        far_keys: The layer's rotated keys of the contexts, (B, T, G, K).
        seen: True where the context has a token, (B, T).
        gaze: Where to look.
        target: Place in the context, or T plus the place in the question, (B, N, J).
        head_dim: K.
    """
    b, n, q, _ = y.shape
    own = torch.arange(q)
    cos, sin = fl.angles(start[:, None, None] + own[None, None].expand(1, n, q), head_dim)
    queries, near = _head(y, weights, cos, sin, head_dim)
    rows = queries.gather(2, gaze.answer[..., None].expand(-1, -1, -1, head_dim))
    far = (rows.flatten(1, 2) @ far_keys[:, :, 0].transpose(1, 2)).view(b, n, rows.shape[2], -1)
    far = far.masked_fill(~seen[:, None, None], fl.NEGATIVE)
    near = (rows @ near.transpose(2, 3)).masked_fill(own > gaze.answer[..., None], fl.NEGATIVE)
    return _missed(torch.cat((far, near), -1) * head_dim**-0.5, target)
