"""Packed weights: the same sums in another order, for the frozen decoder alone, for a while."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sac_rag.chunking import Chunk
from sac_rag.errors import UnsupportedModelError
from sac_rag.generation.packed import PackedWeights
from tests.generation.test_complete import prompts, run  # noqa: F401
from tests.generation.test_grouped import states
from tests.tiny import tiny_adapter, tiny_model


@pytest.fixture(scope="module")
def method():
    return tiny_adapter(tiny_model()).method


@pytest.fixture
def packed(method):
    method.backbone.while_decoding = PackedWeights(method.backbone)
    yield method.backbone.while_decoding
    method.backbone.while_decoding = nullcontext


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the products with packed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.packed += "_linear_pointwise" in str(func)
        return func(*args, **(kwargs or {}))


def linears(method) -> list[torch.nn.Module]:
    return [one for one in method.backbone.causal_lm.modules() if type(one) is torch.nn.Linear]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_are_those_of_the_plain_weights(dtype, prompts):  # noqa: F811
    method = tiny_adapter(tiny_model(dtype=dtype)).method
    rows = [replace(one, anchors=one.anchors and one.anchors.to("cpu", dtype)) for one in prompts]
    wanted = states(method, rows)
    method.backbone.while_decoding = PackedWeights(method.backbone)
    with Products() as products:
        found = states(method, rows)
    assert products.packed == sum("lm_head" not in n for n in _maps(method))
    exact = dtype is torch.float32
    torch.testing.assert_close(
        found, wanted, atol=1e-5 if exact else 2e-2, rtol=1e-4 if exact else 2e-2
    )


def _maps(method) -> list[str]:
    maps = method.backbone.causal_lm.named_modules()
    return [n for n, one in maps if type(one) is torch.nn.Linear and ".lora_" not in n]


def test_answers_are_those_of_the_plain_weights(method, prompts, request):  # noqa: F811
    plain = run(method, prompts)
    request.getfixturevalue("packed")
    together = run(method, prompts)
    assert [one.token_ids for one in together] == [one.token_ids for one in plain]
    assert [run(method, [one])[0].token_ids for one in prompts] == [one.token_ids for one in plain]


@torch.no_grad()
def test_anchors_do_not_change(method, packed):
    chunk = Chunk(token_ids=torch.arange(6, 106))
    with Products() as products:
        found = method.compress_chunk(chunk)
    assert products.packed == 0
    method.backbone.while_decoding = nullcontext
    wanted = method.compress_chunk(chunk)
    assert torch.equal(found.keys, wanted.keys)
    assert torch.equal(found.values, wanted.values)


def test_the_maps_are_as_they_were_whatever_happens(method, packed):
    with method.backbone.decoding():
        with method.backbone.decoding():
            pass
        assert sum("forward" in one.__dict__ for one in linears(method)) == len(_maps(method))
    assert not any("forward" in one.__dict__ for one in linears(method))
    with pytest.raises(KeyboardInterrupt), method.backbone.decoding():
        raise KeyboardInterrupt
    assert not any("forward" in one.__dict__ for one in linears(method))


def test_the_frozen_weights_are_packed_while_a_lora_is_merged(method, prompts):  # noqa: F811
    backbone = method.backbone
    for name, weight in backbone.model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.3)
    wanted = states(method, prompts)
    with backbone.merged():
        backbone.while_decoding = PackedWeights(backbone)
    found = states(method, prompts)
    backbone.while_decoding = nullcontext
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_gradients_flow_through_the_plain_weights(method, packed):
    hidden = torch.randn(4, method.backbone.model_dim, requires_grad=True)
    linear = method.backbone.decoder.layers[0].mlp.up_proj
    with method.backbone.decoding(), Products() as products:
        linear(hidden).sum().backward()
    assert products.packed == 0
    torch.testing.assert_close(hidden.grad, linear.weight.sum(0).expand_as(hidden))


def test_a_precision_that_cannot_be_packed_is_refused():
    method = tiny_adapter(tiny_model(dtype=torch.float64)).method
    with pytest.raises(UnsupportedModelError, match=r"float64.*decode without"):
        PackedWeights(method.backbone)


def test_another_device_is_refused():
    elsewhere = SimpleNamespace(device=torch.device("cuda", 0))
    with pytest.raises(UnsupportedModelError, match=r"for a CPU.*the model is on cuda:0"):
        PackedWeights(elsewhere)  # type: ignore[arg-type]
