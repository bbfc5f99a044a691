"""Every selector keeps as many tokens as the uniform one, in order, and the same ones each time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sac_rag.chunking import Chunk, split_chunks
from sac_rag.errors import ConfigError, EmptyInputError
from sac_rag.layout import midpoint_indices, num_anchors, num_anchors_of_text
from sac_rag.selection import SELECTORS, by_importance, selector_named

LENGTHS = st.integers(1, 600)
RATIOS = st.sampled_from([1, 2, 5, 15, 51, 510])


@given(LENGTHS, RATIOS)
def test_counts_agree(length, ratio):
    assert num_anchors(length, ratio) == len(midpoint_indices(length, ratio)) >= 1


@given(st.integers(1, 2000), RATIOS)
def test_a_texts_anchors_are_its_chunks(length, ratio):
    chunks = split_chunks(torch.zeros(length, dtype=torch.int64), chunk_size=510)
    assert sum(len(chunk) for chunk in chunks) == length
    assert num_anchors_of_text(length, ratio=ratio, chunk_size=510) == sum(
        num_anchors(len(chunk), ratio) for chunk in chunks
    )


@pytest.mark.parametrize("name", SELECTORS)
@given(length=LENGTHS, ratio=RATIOS)
def test_every_selector_is_ascending_repeatable_and_of_equal_size(name, length, ratio):
    chunk = Chunk(token_ids=torch.arange(length))
    picked = SELECTORS[name](chunk, ratio)
    assert len(picked) == num_anchors(length, ratio)
    assert (picked.diff() > 0).all()
    assert 0 <= picked[0] <= picked[-1] < length
    assert torch.equal(picked, SELECTORS[name](chunk, ratio))


@given(length=LENGTHS, ratio=RATIOS)
def test_importance_keeps_the_highest_scores(length, ratio):
    scores = torch.rand(length, generator=torch.Generator().manual_seed(length))
    picked = by_importance(lambda chunk: scores)(Chunk(token_ids=torch.arange(length)), ratio)
    left = scores[[index for index in range(length) if index not in set(picked.tolist())]]
    assert len(picked) == num_anchors(length, ratio)
    assert (picked.diff() > 0).all()
    assert left.numel() == 0 or scores[picked].min() >= left.max()


def test_a_scorer_of_the_wrong_shape_is_refused():
    select = by_importance(lambda chunk: torch.zeros(3))
    with pytest.raises(ConfigError, match="one score per token"):
        select(Chunk(token_ids=torch.arange(9)), 5)


def test_unknown_names_and_empty_texts_are_refused():
    with pytest.raises(ConfigError, match="choose from uniform"):
        selector_named("unifrom")
    with pytest.raises(EmptyInputError):
        split_chunks([], chunk_size=510)


def test_the_papers_table_of_indices():
    """Anchors of a full chunk at 5x, 15x and 51x (released code)."""
    for ratio, (first, second, last, count) in {
        5: (2, 7, 507, 102),
        15: (7, 22, 502, 34),
        51: (25, 76, 484, 10),
    }.items():
        indices = midpoint_indices(510, ratio).tolist()
        assert (indices[0], indices[1], indices[-1], len(indices)) == (first, second, last, count)
