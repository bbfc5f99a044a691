"""The greatest logit is exact whatever eight bits lose, and everything else is left as it was."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sac_rag.errors import UnsupportedModelError
from sac_rag.generation.fast_greedy import fast_greedy
from sac_rag.generation.greedy_head import LEVELS, MOST_ROWS, GreedyHead, WholeProduct
from tests.generation.test_complete import prompts, run  # noqa: F401
from tests.tiny import tiny_adapter, tiny_model


@pytest.fixture(scope="module")
def method():
    return tiny_adapter(tiny_model()).method


def around(weight_VD: torch.Tensor) -> SimpleNamespace:
    """A backbone of which only the head is read."""
    head = nn.Linear(weight_VD.shape[1], weight_VD.shape[0], bias=False, dtype=weight_VD.dtype)
    head.weight.data = weight_VD
    return SimpleNamespace(causal_lm=SimpleNamespace(get_output_embeddings=lambda: head))


def crowded(words: int, dim: int) -> torch.Tensor:
    """Words that lie around few centres, closer to each other than a level of eight bits."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(words // 16, dim, generator=generator).repeat(16, 1)
    return centres + 1e-3 * torch.randn(words, dim, generator=generator)


def in_eight_bits(weight_VD: torch.Tensor) -> torch.Tensor:
    scale = weight_VD.abs().amax(1, keepdim=True) / LEVELS
    return (weight_VD / scale).round() * scale


@pytest.mark.parametrize("rows", [1, 3, MOST_ROWS])
@pytest.mark.parametrize("far", [1.0, 1000.0])
@torch.inference_mode()
def test_the_greatest_logit_is_that_of_the_weights(rows, far):
    weight_VD = crowded(1024, 96)
    head = GreedyHead(around(weight_VD))
    states_ND = torch.randn(rows, 96, generator=torch.Generator().manual_seed(1))
    states_ND[:, 5] *= far  # trained decoders have such a dimension
    found_NV, wanted_NV = head.logits(states_ND), states_ND @ weight_VD.T
    assert torch.equal(found_NV.argmax(1), wanted_NV.argmax(1))
    torch.testing.assert_close(found_NV.amax(1), wanted_NV.amax(1))


@torch.inference_mode()
def test_eight_bits_alone_would_choose_other_words():
    weight_VD = crowded(1024, 96)
    states_ND = torch.randn(64, 96, generator=torch.Generator().manual_seed(1))
    wanted_N = (states_ND @ weight_VD.T).argmax(1)
    assert (wanted_N != (states_ND @ in_eight_bits(weight_VD).T).argmax(1)).sum() > 10
    head = GreedyHead(around(weight_VD))
    found = [head.logits(one_ND).argmax(1) for one_ND in states_ND.split(MOST_ROWS)]
    assert torch.equal(torch.cat(found), wanted_N)


@torch.inference_mode()
def test_most_words_are_not_read():
    weight_VD = torch.randn(4096, 64, generator=torch.Generator().manual_seed(0))
    states_ND = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    off_NV = GreedyHead(around(weight_VD)).logits(states_ND) - states_ND @ weight_VD.T
    exact = (off_NV.abs() < 1e-4).float().mean()
    assert exact < 0.2
    assert off_NV.abs().max() < 1  # of logits as large as 30


@torch.inference_mode()
def test_where_all_words_are_alike_all_are_computed():
    weight_VD = torch.ones(64, 32)
    head = GreedyHead(around(weight_VD))
    for states_ND in (torch.zeros(1, 32), torch.ones(2, 32)):
        torch.testing.assert_close(head.logits(states_ND), states_ND @ weight_VD.T)


@pytest.mark.parametrize("make", [GreedyHead, fast_greedy])
def test_answers_are_those_of_the_plain_head(method, prompts, make):  # noqa: F811
    backbone = method.backbone
    plain = [one.token_ids for one in run(method, prompts)]
    backbone.while_decoding = make(backbone)
    try:
        assert [one.token_ids for one in run(method, prompts)] == plain
        assert [run(method, [one])[0].token_ids for one in prompts] == plain
    finally:
        backbone.while_decoding = nullcontext


def test_many_rows_and_gradients_take_the_plain_product(method):
    head = method.backbone.causal_lm.get_output_embeddings()
    greedy = GreedyHead(method.backbone)
    few, many = (torch.randn(n, method.backbone.model_dim) for n in (1, MOST_ROWS + 1))
    wanted = head(few), head(many)
    few.requires_grad_()
    with greedy():
        assert torch.equal(head(few), wanted[0])
        head(few).sum().backward()
        with torch.no_grad():
            assert torch.equal(head(many), wanted[1])
            assert not torch.equal(head(few), wanted[0])
    torch.testing.assert_close(few.grad, head.weight.sum(0, keepdim=True))


def test_the_head_is_as_it_was_whatever_happens(method):
    head, greedy = method.backbone.causal_lm.get_output_embeddings(), GreedyHead(method.backbone)
    with greedy():
        with pytest.raises(KeyboardInterrupt), greedy():
            raise KeyboardInterrupt
        assert "forward" in head.__dict__
    assert "forward" not in head.__dict__


@pytest.mark.parametrize("words", [64, 1000])
def test_whole_numbers_are_multiplied_exactly(words):
    generator = torch.Generator().manual_seed(0)
    whole_VD = torch.randint(-LEVELS, LEVELS + 1, (words, 40), generator=generator)
    rows_ND = torch.randint(-LEVELS, LEVELS + 1, (4, 40), generator=generator)
    product = WholeProduct(whole_VD.to(torch.int8), torch.ones(words))
    assert torch.equal(product(rows_ND.float()).long(), rows_ND @ whole_VD.T)


def test_other_precisions_and_a_bias_are_refused():
    with pytest.raises(UnsupportedModelError, match=r"bfloat16 on cpu; decode without"):
        GreedyHead(around(torch.zeros(8, 4, dtype=torch.bfloat16)))
    biased = around(torch.zeros(8, 4))
    biased.causal_lm.get_output_embeddings().bias = nn.Parameter(torch.zeros(8))
    with pytest.raises(UnsupportedModelError, match="has a bias"):
        GreedyHead(biased)


def test_in_bfloat16_weights_are_packed_alone():
    backbone = tiny_adapter(tiny_model(dtype=torch.bfloat16)).method.backbone
    assert type(fast_greedy(backbone)).__name__ == "PackedWeights"
