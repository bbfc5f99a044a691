"""A plan's laws, as the engine measures them: in anchors of an answer, in bytes of its cache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_rag import Document, SACEngine
from sac_rag.engine.requests import Stored
from sac_rag.errors import ConfigError, EmptyInputError, ImpossibleBudgetError

DOCUMENTS = [
    "The mill stood where two rivers met. " * 20,
    {"title": "Harbour", "text": "Ships came at dawn, loaded with salt and copper."},
    Document(text="Ost is a hill. " * 12),
]
QUESTION = "What stood where the rivers met?"
BUDGETS = st.integers(0, 1200)
SCORES = st.tuples(*[st.sampled_from([0.0, 0.2, 1.0, 3.0])] * 3)


@pytest.fixture(scope="module")
def planner(any_ratio_folders):
    """An engine that serves the ratios 5, 15 and 51."""
    base, adapter = any_ratio_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


def fineness(document: Document) -> int:
    return 1 if not document.compressed else document.ratio or 0


@given(SCORES, BUDGETS, st.integers(0, 3))
def test_what_an_answer_takes_is_within_the_budget(planner, scores, budget, full_text):
    least = _least(planner)
    planned = planner.plan(DOCUMENTS, scores, anchors=least + budget, full_text=full_text)
    usage = planner.answer(QUESTION, planned, max_new_tokens=1).usage
    asked = planner.answer(QUESTION, DOCUMENTS, max_new_tokens=1).usage
    in_full = usage.prompt_tokens - asked.prompt_tokens
    assert usage.anchors + in_full <= least + budget
    assert sum(not one.compressed for one in planned) <= full_text
    assert {one.ratio for one in planned if one.compressed} <= set(planner.ratios)


@given(SCORES, BUDGETS, st.integers(0, 3))
def test_what_its_cache_takes_is_within_the_bytes(planner, scores, budget, full_text):
    each = _bytes_of_a_place(planner)
    nbytes = (_least(planner) + budget) * each + each // 2
    planned = planner.plan(DOCUMENTS, scores, nbytes=nbytes, full_text=full_text)
    asked = planner.answer(QUESTION, DOCUMENTS, max_new_tokens=1).usage
    of_the_question = asked.cache_bytes - asked.anchors * each
    usage = planner.answer(QUESTION, planned, max_new_tokens=1).usage
    assert usage.cache_bytes - of_the_question <= nbytes
    assert planned == planner.plan(DOCUMENTS, scores, anchors=nbytes // each, full_text=full_text)


@given(SCORES, BUDGETS, BUDGETS, st.integers(0, 3))
def test_more_budget_is_never_coarser(planner, scores, one, other, full_text):
    least = _least(planner)
    small, large = (
        planner.plan(DOCUMENTS, scores, anchors=least + more, full_text=full_text)
        for more in sorted((one, other))
    )
    assert all(fineness(b) <= fineness(a) for a, b in zip(small, large, strict=True))


def test_a_budget_for_all_reads_the_best_in_full_and_the_rest_at_the_finest_ratio(planner):
    planned = planner.plan(DOCUMENTS, [0.1, 0.7, 0.2], anchors=10_000, full_text=1)
    assert [fineness(one) for one in planned] == [5, 1, 5]
    assert [one.title for one in planned] == [None, "Harbour", None]
    again = planner.plan(planned, [0.1, 0.7, 0.2], anchors=_least(planner))
    assert [fineness(one) for one in again] == [51, 51, 51]


def test_one_document_may_come_alone(planner):
    for document in DOCUMENTS[:2]:
        assert planner.plan(document, anchors=999) == planner.plan([document], anchors=999)
    assert planner.plan([], anchors=0) == []


def test_the_better_of_two_as_long_gets_the_finer_ratio(planner):
    planned = planner.plan([DOCUMENTS[0]] * 2, [0.2, 0.8], anchors=200)
    assert fineness(planned[1]) < fineness(planned[0])


def test_an_adapter_of_one_ratio_plans_that_or_full_text(shared_engine):
    least = sum(shared_engine.count_anchors(one) for one in DOCUMENTS)
    planned = shared_engine.plan(DOCUMENTS, anchors=least, full_text=3)
    assert {fineness(one) for one in planned} == {5}
    planned = shared_engine.plan(DOCUMENTS, anchors=10_000, full_text=3)
    assert {fineness(one) for one in planned} == {1}


def test_without_an_adapter_only_what_was_asked_for_is_in_full(tiny_folders):
    with SACEngine.from_pretrained(tiny_folders[0]) as plain:
        planned = plain.plan(DOCUMENTS, [1, 2, 1], anchors=10_000, full_text=1)
        assert [(one.compressed, one.ratio) for one in planned] == [
            (True, 1),
            (False, None),
            (True, 1),
        ]


def test_what_cannot_be_planned_is_refused(planner):
    least = _least(planner)
    with pytest.raises(ImpossibleBudgetError, match=f"they take {least:,}") as refused:
        planner.plan(DOCUMENTS, anchors=least - 1)
    assert refused.value.least == least
    each = _bytes_of_a_place(planner)
    with pytest.raises(ImpossibleBudgetError) as refused:
        planner.plan(DOCUMENTS, nbytes=least * each - 1)
    assert refused.value.least == least * each
    for budgets in ({}, {"anchors": 99, "nbytes": 99}):
        with pytest.raises(ConfigError, match="a plan needs one budget"):
            planner.plan(DOCUMENTS, **budgets)
    with pytest.raises(ConfigError, match="3 documents and 2 scores"):
        planner.plan(DOCUMENTS, [1, 2], anchors=999)
    with pytest.raises(ConfigError, match="take a softmax first"):
        planner.plan(DOCUMENTS, [1, 2, -1], anchors=999)
    for made in (planner.compress(DOCUMENTS[0]), Stored(key="0" * 32, num_anchors=3)):
        with pytest.raises(ConfigError, match=r"document 1, a .*give the document's text"):
            planner.plan([DOCUMENTS[0], made], anchors=999)
    with pytest.raises(EmptyInputError):
        planner.plan([" "], anchors=999)


def _least(engine: SACEngine) -> int:
    plain = [DOCUMENTS[0], DOCUMENTS[2].text]
    coarsest = [Document(text=text, ratio=51) for text in plain]
    coarsest += [Document(**DOCUMENTS[1], ratio=51)]
    return sum(engine.count_anchors(one) for one in coarsest)


def _bytes_of_a_place(engine: SACEngine) -> int:
    """Of a cached token, by an own road: from a cache in full precision."""
    [one] = engine.compress_each(DOCUMENTS[:1])
    cache = one.cache
    return cache.keys[:, :, :1].nbytes + cache.values[:, :, :1].nbytes
