"""However rows share passes, losses and gradients are the same; the grouping costs least."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sac_rag.layer_calls import call_replayed
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.passes import CPU_PASS, by_length, in_passes, like_lengths, together
from tests.tiny import tiny_adapter, tiny_model
from tests.train.test_modes import SAMPLES as QUESTIONS
from tests.train.test_objectives import SAMPLES

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def cost(lengths: list[int], passes: list[list[int]], pass_tokens: int) -> int:
    return sum(pass_tokens + len(rows) * max(lengths[row] for row in rows) for rows in passes)


@given(LENGTHS, st.integers(0, 60))
def test_no_other_grouping_costs_less(lengths, pass_tokens):
    passes = by_length(lengths, pass_tokens=pass_tokens)
    assert sorted(row for rows in passes for row in rows) == list(range(len(lengths)))
    cheapest = cost(lengths, passes, pass_tokens)
    for named in product(range(len(lengths)), repeat=len(lengths)):  # which pass a row is in
        other = [[row for row, name in enumerate(named) if name == one] for one in set(named)]
        assert cost(lengths, other, pass_tokens) >= cheapest


def test_rows_of_one_length_share_a_pass_whatever_it_costs():
    assert len(by_length([510] * 40, pass_tokens=1)) == 1
    assert by_length([510, 7, 510, 6], pass_tokens=CPU_PASS) == [[0, 2], [1, 3]]
    assert len(by_length([510, 7, 510, 6], pass_tokens=10_000)) == 1


@given(LENGTHS)
def test_results_come_in_the_order_of_the_rows(lengths):
    names = [f"row {row}" for row in range(len(lengths))]
    for passes in (together, partial(by_length, pass_tokens=3)):
        assert in_passes(lambda rows: [names[row] for row in rows], lengths, passes) == names


def gradients(passes, samples, *, call_layer=None, **settings):
    adapter = tiny_adapter(tiny_model(), **settings)
    make_trainable(adapter)
    if call_layer is not None:
        adapter.backbone.call_layer = call_layer
    weights = {"continuation": 1.0, "autoencoding": 1.0}
    module = TrainingModule(adapter, weights=weights, passes=passes)
    found = module(samples)
    found["loss"].backward()
    learned = {name: one.grad for name, one in module.named_parameters() if one.requires_grad}
    return {name: found[name] for name in weights}, learned


@pytest.mark.parametrize("call_layer", [None, call_replayed])
@pytest.mark.parametrize(
    ("samples", "settings"),
    [(SAMPLES, {}), (QUESTIONS, {"query_aware": True, "ratios": (5, 15, 51)})],
)
def test_losses_and_gradients_are_those_of_one_pass(samples, settings, call_layer):
    samples = [replace(sample, documents=(*sample.documents, [7] * 40)) for sample in samples]
    losses, wanted = gradients(together, samples, **settings)
    apart = partial(by_length, pass_tokens=4)
    assert len(apart([len(one) for sample in samples for one in sample.documents])) > 2
    found_losses, found = gradients(apart, samples, call_layer=call_layer, **settings)
    torch.testing.assert_close(found_losses, losses, atol=1e-5, rtol=1e-5)
    assert sum(one is not None and bool(one.any()) for one in wanted.values()) > 10
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, atol=1e-5, rtol=1e-4, msg=name)


def test_held_out_losses_stand_in_the_order_of_their_samples():
    module = TrainingModule(tiny_adapter(tiny_model()), weights={"continuation": 1.0})
    with torch.no_grad():
        wanted = module.continuation_losses(QUESTIONS)
        module.passes = partial(by_length, pass_tokens=1)
        torch.testing.assert_close(module.continuation_losses(QUESTIONS), wanted)


def test_a_cpu_takes_little_padding():
    group = like_lengths(tiny_adapter(tiny_model()).backbone)
    assert len(group([510, 10])) == 2
    assert len(group([510, 500])) == 1
