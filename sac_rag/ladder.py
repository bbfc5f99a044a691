"""Which ratio each document gets within a budget: a ladder of upgrades, climbed from the bottom.

Every document starts at the coarsest ratio. What it would gain by the next finer one, weighted with
its score and divided by what that costs, is the worth of a step. All steps of all documents, best
first, make one ladder that does not depend on the budget; the budget only says how far up it one
gets. Hence the laws:

- the plan is within the budget, and any budget that can be met is met;
- with a larger budget no document gets a coarser ratio;
- of two documents of one length, that with the higher score never gets the coarser ratio;
- no other choice of ratios that costs no more than the plan is worth more (it is a point of the
  multiple-choice knapsack's linear relaxation: Sinha and Zoltners, 1979).

What the plan leaves of the budget is less than its next step: ``Plan.next_cost``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sac_rag.errors import ConfigError, ImpossibleBudgetError
from sac_rag.layout import num_anchors_of_text

FULL_TEXT = 1
"""The ratio of a document that the decoder reads in full."""

Cost = Callable[[int, int], int]
"""(tokens of a document, ratio) to what it takes of the budget."""
Gain = Callable[[int], float]
"""From a ratio to what a document of score 1 is worth at it; the smaller the ratio, the more."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A retrieved document, as far as a planner cares."""

    num_tokens: int
    score: float = 1.0
    """How much it matters, from 0: a relevance. Of logits or distances take a softmax first."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What each document gets."""

    ratios: tuple[int, ...]
    """In the order of the documents; ``FULL_TEXT`` is read in full."""
    cost: int
    """What they take of the budget."""
    worth: float
    """Sum of score times gain."""
    next_cost: int | None
    """Least budget at which a document gets a finer ratio; None if none can."""


def in_anchors(*, chunk_size: int = 510) -> Cost:
    """Count anchors, and the tokens of what is read in full: places in the decoder's cache.

    >>> in_anchors()(1020, 5), in_anchors()(1020, FULL_TEXT)
    (204, 1020)
    """

    def cost(num_tokens: int, ratio: int) -> int:
        if ratio == FULL_TEXT:
            return num_tokens
        return num_anchors_of_text(num_tokens, ratio=ratio, chunk_size=chunk_size)

    return cost


def in_bytes(*, anchor_bytes: float, token_bytes: float, chunk_size: int = 510) -> Cost:
    """Count bytes.

    Args:
        anchor_bytes: Of an anchor, as its codec keeps it (``IntegerCodec.anchor_bytes``).
        token_bytes: Of the keys and values of a token that is read in full.
        chunk_size: Tokens encoded together.
    """
    places = in_anchors(chunk_size=chunk_size)

    def cost(num_tokens: int, ratio: int) -> int:
        each = token_bytes if ratio == FULL_TEXT else anchor_bytes
        return math.ceil(places(num_tokens, ratio) * each)

    return cost


def by_halving(ratio: int) -> float:
    """Say that every halving of the ratio is worth the same: anchors are shared by score."""
    return -math.log2(ratio)


def plan_ratios(
    documents: Sequence[Candidate],
    *,
    ratios: Sequence[int],
    budget: int,
    cost: Cost | None = None,
    gain: Gain = by_halving,
    full_text: int = 0,
) -> Plan:
    """Choose a ratio for each document.

    Args:
        documents: What was retrieved.
        ratios: Those there is an adapter for.
        budget: Of anchors, or of whatever ``cost`` counts.
        cost: What a document takes; ``in_anchors()`` by default.
        gain: What a ratio is worth; give measured scores where there are some.
        full_text: So many documents of the highest scores may be read in full.

    Raises:
        ImpossibleBudgetError: If the coarsest ratios of all documents take more; ``least`` says
            how much.
        ConfigError: If a number makes no sense.
    """
    _check(documents, ratios, full_text)
    cost = cost or in_anchors()
    in_full = highest(documents, full_text)
    choices = [
        _hull(
            [
                _Rung(ratio=ratio, cost=cost(document.num_tokens, ratio), gain=gain(ratio))
                for ratio in {*ratios, *([FULL_TEXT] if index in in_full else [])}
            ]
        )
        for index, document in enumerate(documents)
    ]
    spent = sum(rungs[0].cost for rungs in choices)
    if spent > budget:
        raise ImpossibleBudgetError(
            f"asked to keep {len(documents)} documents within {budget:,}: at the coarsest ratios "
            f"they take {spent:,}; give at least that, fewer documents, or a coarser ratio",
            least=spent,
        )
    place, next_cost = [0] * len(documents), None
    for index, step in _ladder(documents, choices):
        more = choices[index][step].cost - choices[index][step - 1].cost
        if spent + more > budget:
            next_cost = spent + more
            break
        spent += more
        place[index] = step
    chosen = [rungs[at] for rungs, at in zip(choices, place, strict=True)]
    return Plan(
        ratios=tuple(rung.ratio for rung in chosen),
        cost=spent,
        worth=sum(one.score * rung.gain for one, rung in zip(documents, chosen, strict=True)),
        next_cost=next_cost,
    )


def highest(documents: Sequence[Candidate], count: int) -> set[int]:
    """Give the indices of so many documents of the highest scores, the first of equal ones.

    >>> highest([Candidate(num_tokens=9, score=score) for score in (1, 3, 1)], 2)
    {0, 1}
    """
    return set(sorted(range(len(documents)), key=lambda index: -documents[index].score)[:count])


@dataclass(frozen=True, kw_only=True)
class _Rung:
    ratio: int
    cost: int
    gain: float


def _hull(rungs: list[_Rung]) -> list[_Rung]:
    """Keep the rungs that some exchange rate of cost and gain would choose, cheapest first."""
    kept: list[_Rung] = []
    for rung in sorted(rungs, key=lambda one: (one.cost, -one.gain, one.ratio)):
        if kept and rung.gain <= kept[-1].gain:
            continue  # costs more, or as much, and gains nothing
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-1], rung):
            kept.pop()
        kept.append(rung)
    return kept


def _slope(lower: _Rung, upper: _Rung) -> float:
    return (upper.gain - lower.gain) / (upper.cost - lower.cost)


def _ladder(
    documents: Sequence[Candidate], choices: Sequence[list[_Rung]]
) -> list[tuple[int, int]]:
    """Order all steps, (document, rung it leads to), those of most worth for their cost first."""
    steps = [(index, step) for index, rungs in enumerate(choices) for step in range(1, len(rungs))]

    def order(one: tuple[int, int]) -> tuple[float, float, int, int]:
        index, step = one
        score = documents[index].score
        worth = score * _slope(choices[index][step - 1], choices[index][step])
        return -worth, -score, step, index

    return sorted(steps, key=order)


def _check(documents: Sequence[Candidate], ratios: Sequence[int], full_text: int) -> None:
    if not ratios or min(ratios) < 1:
        raise ConfigError(f"asked to plan with ratios {list(ratios)}; give whole numbers from 1")
    if full_text < 0:
        raise ConfigError(f"asked for {full_text} documents in full; give 0 or more")
    for index, one in enumerate(documents):
        if one.num_tokens < 1 or not 0 <= one.score < math.inf:
            raise ConfigError(
                f"document {index} has {one.num_tokens} tokens and score {one.score}; a planner "
                "needs tokens, and a score from 0 (of logits or distances take a softmax first)"
            )
