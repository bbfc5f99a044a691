"""Rows of stage B: documents that are read once, and many questions, blind to each other.

A group is what one prompt holds in full: BOS, one to ten documents, and questions, laid behind each
other. A question stands at the positions that it has when it is asked alone, and sees nothing of
the others (``who_sees.py``), so a row of 2,048 tokens teaches two dozen answers for the price of
one reading. The loss is on answers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from readings import Store

IGNORE = -100
SINGLE = 0.5
"""Share of groups with one document; the others have two to ten."""
MANY = 10
NEAR = 20
"""Half of the other documents are from so near the first one: mostly of the same article."""
FOR_DOCUMENTS = 0.7
"""Share of the free tokens that documents may take."""
GAPS = 0.2
"""Share of groups whose questions stand farther off, as if more documents stood between."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """Tokens and all that is known about each, (T,) int64 each."""

    ids: np.ndarray
    """Token ids."""
    positions: np.ndarray
    """Where each stands in its own prompt."""
    groups: np.ndarray
    """Which prompt each belongs to, from 1; 0 is padding."""
    questions: np.ndarray
    """Which question of the prompt, from 1; 0 for the documents."""
    targets: np.ndarray
    """The token to be said next, or ``IGNORE``."""

    def __len__(self) -> int:
        return len(self.ids)


def lay(
    documents: Sequence[np.ndarray],
    asked: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    bos: int,
    separator: Sequence[int],
    number: int,
    gap: int = 0,
) -> Row:
    """Lay one group.

    Args:
        documents: Ids of each, prefix included.
        asked: Questions and answers; an answer's last token is only ever said, never read.
        bos: Stands first.
        separator: Stands between documents that are read in full.
        number: Of the group in its row, from 1.
        gap: Positions left free before the questions.
    """
    context = [np.array([bos])]
    for index, document in enumerate(documents):
        context += [np.array(separator, np.int64)] if index else []
        context.append(document)
    head = np.concatenate(context).astype(np.int64)
    ids, questions = [head], [np.zeros(len(head), np.int64)]
    positions = [np.arange(len(head))]
    targets = [np.full(len(head), IGNORE)]
    for index, (question, answer) in enumerate(asked, start=1):
        whole = np.concatenate((question, answer)).astype(np.int64)
        said = whole[1:].copy()
        said[: len(question) - 1] = IGNORE
        ids.append(whole[:-1])
        questions.append(np.full(len(said), index))
        positions.append(len(head) + gap + np.arange(len(said)))
        targets.append(said)
    laid = np.concatenate(ids)
    return Row(
        ids=laid,
        positions=np.concatenate(positions),
        groups=np.full(len(laid), number),
        questions=np.concatenate(questions),
        targets=np.concatenate(targets),
    )


def text_row(window: np.ndarray) -> Row:
    """Make a row of plain text, from a window of one token more."""
    length = len(window) - 1
    return Row(
        ids=window[:-1],
        positions=np.arange(length),
        groups=np.ones(length, np.int64),
        questions=np.zeros(length, np.int64),
        targets=window[1:],
    )


def packed(groups: Sequence[Row], *, width: int, pad: int) -> Row:
    """Lay groups behind each other and fill up."""
    rest = width - sum(map(len, groups))
    fill = {"ids": pad, "positions": 0, "groups": 0, "questions": 0, "targets": IGNORE}
    return Row(
        **{
            name: np.concatenate([*(getattr(g, name) for g in groups), np.full(rest, value)])
            for name, value in fill.items()
        }
    )


class Groups:
    """Draws rows; row ``n`` follows from the stores, the seed and ``n`` alone.

    Args:
        stores: Where contexts come from, with the share of groups that each gives.
        width: Tokens of a row.
        bos: Token ids of the prompt.
        pad: Token id.
        separator: See ``lay``.
        seed: Of all draws.
    """

    def __init__(
        self,
        stores: Sequence[tuple[Store, float]],
        *,
        width: int,
        bos: int,
        pad: int,
        separator: Sequence[int],
        seed: int,
    ) -> None:
        self._stores = [store for store, _ in stores]
        shares = np.array([share for _, share in stores])
        self._shares = shares / shares.sum()
        self._width, self._bos, self._pad = width, bos, pad
        self._separator, self._seed = list(separator), seed

    def row(self, number: int) -> Row:
        """Draw row ``number``."""
        draw = np.random.default_rng((self._seed, number))
        groups: list[Row] = []
        free, failed = self._width, 0
        while free > 32 and failed < 4:
            store = self._stores[draw.choice(len(self._stores), p=self._shares)]
            group = self._group(store, draw, free, len(groups) + 1)
            if group is None:
                failed += 1  # too long for what is left: another one may fit
                continue
            groups.append(group)
            free -= len(group)
        return packed(groups, width=self._width, pad=self._pad)

    def _group(self, store: Store, draw: np.random.Generator, free: int, number: int) -> Row | None:
        chosen = self._documents(store, draw, free)
        if not chosen:
            return None
        documents = [store.context(index) for index in chosen]
        used = 1 + sum(map(len, documents)) + len(self._separator) * (len(chosen) - 1)
        asked = [pair for index in chosen for pair in store.asked(index)]
        taken = []
        for index in draw.permutation(len(asked)):
            length = sum(map(len, asked[index])) - 1
            if used + length <= free:
                taken.append(asked[index])
                used += length
        if not taken:
            return None
        far = self._width - used
        gap = int(draw.integers(far + 1)) if draw.random() < GAPS and far > 0 else 0
        return lay(
            documents, taken, bos=self._bos, separator=self._separator, number=number, gap=gap
        )

    def _documents(self, store: Store, draw: np.random.Generator, free: int) -> list[int]:
        first = int(draw.integers(len(store)))
        wanted = 1 if draw.random() < SINGLE else int(draw.integers(2, MANY + 1))
        chosen, room = [], int(FOR_DOCUMENTS * free)
        for turn in range(wanted):
            index = first
            if turn:
                near = draw.random() < 0.5
                step = int(draw.integers(-NEAR, NEAR + 1)) if near else int(draw.integers(1 << 40))
                index = (first + step) % len(store)
            length = len(store.context(index)) + len(self._separator) + 1
            if index not in chosen and length <= room:
                chosen.append(index)
                room -= length
        return [chosen[index] for index in draw.permutation(len(chosen))]
