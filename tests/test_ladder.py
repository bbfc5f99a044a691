"""The planner's laws, held against all choices there are."""

from __future__ import annotations

import pickle
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_rag.codecs import IntegerCodec
from sac_rag.errors import ConfigError
from sac_rag.ladder import (
    FULL_TEXT,
    Candidate,
    ImpossibleBudgetError,
    by_halving,
    in_anchors,
    in_bytes,
    plan_ratios,
)

LENGTHS = st.sampled_from([1, 7, 120, 510, 511, 1400])
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 3.0])
DOCUMENTS = st.lists(st.builds(Candidate, num_tokens=LENGTHS, score=SCORES), min_size=1, max_size=5)
RATIOS = st.sets(st.sampled_from([2, 5, 15, 51, 102]), min_size=1, max_size=4).map(sorted)
BUDGETS = st.integers(0, 3000)
GAINS = st.sampled_from([by_halving, lambda ratio: -ratio, lambda ratio: 1 / ratio])
COSTS = st.sampled_from([in_anchors(), in_bytes(anchor_bytes=0.4, token_bytes=1.5)])


@st.composite
def tasks(draw: st.DrawFn) -> dict:
    return {
        "documents": draw(DOCUMENTS),
        "ratios": draw(RATIOS),
        "gain": draw(GAINS),
        "cost": draw(COSTS),
        "full_text": draw(st.integers(0, 3)),
    }


def all_choices(task: dict) -> list[tuple[int, float, tuple[int, ...]]]:
    """Every assignment: (cost, worth, ratios)."""
    documents = task["documents"]
    top = sorted(range(len(documents)), key=lambda i: -documents[i].score)[: task["full_text"]]
    menus = [
        sorted({*task["ratios"], *([FULL_TEXT] if i in top else [])}) for i in range(len(documents))
    ]
    return [
        (
            sum(task["cost"](d.num_tokens, r) for d, r in zip(documents, chosen, strict=True)),
            sum(d.score * task["gain"](r) for d, r in zip(documents, chosen, strict=True)),
            chosen,
        )
        for chosen in product(*menus)
    ]


@given(tasks(), BUDGETS)
def test_a_plan_fits_whenever_any_choice_does_and_nothing_as_cheap_is_worth_more(task, budget):
    choices = all_choices(task)
    least = min(cost for cost, _, _ in choices)
    if least > budget:
        with pytest.raises(ImpossibleBudgetError, match=f"they take {least:,}; ") as refused:
            plan_ratios(**task, budget=budget)
        assert refused.value.least == least
        budget = least
    plan = plan_ratios(**task, budget=budget)
    assert plan.cost <= budget
    mine = {chosen: (cost, worth) for cost, worth, chosen in choices}[plan.ratios]
    assert mine == (plan.cost, pytest.approx(plan.worth))
    assert max(worth for cost, worth, _ in choices if cost <= plan.cost) <= plan.worth + 1e-9
    # what is left is less than the next step, and that step is a real one
    if plan.next_cost is not None:
        assert plan.next_cost > budget
        assert plan_ratios(**task, budget=plan.next_cost).ratios != plan.ratios
        assert plan_ratios(**task, budget=plan.next_cost - 1).ratios == plan.ratios


@given(tasks(), BUDGETS, BUDGETS)
def test_with_more_budget_no_document_gets_a_coarser_ratio(task, one, other):
    least = min(cost for cost, _, _ in all_choices(task))
    small, large = (
        plan_ratios(**task, budget=least + more).ratios for more in sorted((one, other))
    )
    assert all(fine <= coarse for fine, coarse in zip(large, small, strict=True))


@given(tasks(), BUDGETS, LENGTHS)
def test_of_two_as_long_the_higher_score_never_gets_the_coarser_ratio(task, budget, length):
    task["documents"] = [Candidate(num_tokens=length, score=d.score) for d in task["documents"]]
    least = min(cost for cost, _, _ in all_choices(task))
    plan = plan_ratios(**task, budget=least + budget)
    ranked = sorted(zip(task["documents"], plan.ratios, strict=True), key=lambda one: one[0].score)
    for (low, coarse), (high, fine) in pairwise(ranked):
        assert low.score == high.score or fine <= coarse


@given(tasks(), BUDGETS, st.randoms())
def test_the_order_of_ratios_does_not_matter(task, budget, random):
    least = min(cost for cost, _, _ in all_choices(task))
    plan = plan_ratios(**task, budget=least + budget)
    random.shuffle(task["ratios"])
    assert plan_ratios(**task, budget=least + budget) == plan


def test_a_budget_for_all_gives_all_the_finest():
    documents = [Candidate(num_tokens=510, score=score) for score in (0.1, 0.9, 0.5)]
    plan = plan_ratios(documents, ratios=[51, 5, 15], budget=10_000, full_text=1)
    assert plan.ratios == (5, FULL_TEXT, 5)
    assert (plan.cost, plan.next_cost) == (102 + 510 + 102, None)
    assert plan_ratios(documents, ratios=[51, 15, 5], budget=30).ratios == (51, 51, 51)


def test_scores_share_the_anchors_out():
    """With gains by halving, anchors go by score: the continuous optimum, met within a rung."""
    documents = [Candidate(num_tokens=5100, score=score) for score in (0.8, 0.15, 0.05)]
    plan = plan_ratios(documents, ratios=[2, 4, 8, 16, 32, 64, 128, 255], budget=1_700)
    anchors = [in_anchors()(5100, ratio) for ratio in plan.ratios]
    for one, count in zip(documents, anchors, strict=True):
        assert 0.4 < count / plan.cost / one.score < 2.1
    assert plan.cost > 800


def test_bytes_count_what_a_codec_keeps():
    codec = IntegerCodec(4)
    each = codec.anchor_bytes(layers=16, heads=8, head_dim=64, num_anchors=102)
    cost = in_bytes(anchor_bytes=each, token_bytes=32 * 1024)
    assert cost(510, 5) == pytest.approx(102 * 9_000, rel=0.02)  # 8,192 of numbers, and steps
    assert cost(510, FULL_TEXT) == 510 * 32 * 1024
    documents = [Candidate(num_tokens=510)] * 4
    assert plan_ratios(documents, ratios=[5, 15], budget=4_000_000, cost=cost).ratios == (5,) * 4
    assert plan_ratios(documents, ratios=[5, 15], budget=2_000_000, cost=cost).ratios == (
        5,
        15,
        15,
        15,
    )


def test_no_documents_take_nothing():
    plan = plan_ratios([], ratios=[5], budget=0)
    assert (plan.ratios, plan.cost, plan.next_cost) == ((), 0, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratios": []}, r"ratios \[\]"),
        ({"ratios": [0, 5]}, "from 1"),
        ({"full_text": -1}, "-1 documents in full"),
        ({"documents": [Candidate(num_tokens=0)]}, "document 0 has 0 tokens"),
        ({"documents": [Candidate(num_tokens=5, score=-0.1)]}, "softmax"),
        ({"documents": [Candidate(num_tokens=5, score=float("nan"))]}, "softmax"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, told):
    task = {"documents": [Candidate(num_tokens=9)], "ratios": [5], "budget": 100}
    with pytest.raises(ConfigError, match=told):
        plan_ratios(**{**task, **changes})


def test_the_error_travels_between_processes_with_its_number():
    with pytest.raises(ImpossibleBudgetError) as refused:
        plan_ratios([Candidate(num_tokens=510)], ratios=[5], budget=1)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.least) == (str(refused.value), 102)
