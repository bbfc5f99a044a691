"""Gradient checkpointing changes memory, not numbers: backward replays each layer's own LoRA."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from torch.utils.checkpoint import CheckpointError, checkpoint

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig
from sac_rag.layer_calls import call, call_replayed
from sac_rag.train.module import TrainingModule, make_trainable
from tests.tiny import tiny_model
from tests.train.test_objectives import SAMPLES


def module_of(method: str, objective: str) -> TrainingModule:
    torch.manual_seed(0)
    adapter = Adapter.create(
        tiny_model(),
        compress=CompressConfig(ratio=5),
        lora=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        method=method,
    )
    for name, weight in adapter.backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    make_trainable(adapter)
    return TrainingModule(adapter, weights={objective: 1.0}).train()


def gradients(module: TrainingModule) -> dict[str, torch.Tensor | None]:
    module.zero_grad()
    module(SAMPLES)["loss"].backward()
    return {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("objective", ["continuation", "autoencoding", "qa"])
@pytest.mark.parametrize("method", ["sac", "epl", "500x", "icae"])
def test_gradients_are_those_of_a_run_without_it(method, objective):
    module = module_of(method, objective)
    plain = gradients(module)
    assert module.adapter.backbone.call_layer is call
    module.adapter.backbone.call_layer = call_replayed
    replayed = gradients(module)
    assert plain.keys() == replayed.keys()
    assert sum(one is not None and bool(one.any()) for one in plain.values()) > 10
    for name, one in plain.items():
        if one is None:
            assert replayed[name] is None, name
        else:
            torch.testing.assert_close(replayed[name], one, atol=1e-6, rtol=1e-5)


def test_without_the_switch_the_replay_is_another_computation():
    """The law above can fail: torch itself sees that a decoder with its LoRA on is another."""
    module = module_of("sac", "continuation")

    def replayed_as_it_stands(step, layer, *args):
        return checkpoint(call, step, layer, *args, use_reentrant=False)

    module.adapter.backbone.call_layer = replayed_as_it_stands
    with pytest.raises(CheckpointError):
        gradients(module)


def test_the_lora_is_as_it_was_behind_a_backward():
    module = module_of("icae", "qa")
    module.adapter.backbone.call_layer = call_replayed
    gradients(module)
    assert module.adapter.backbone.model.get_model_status().enabled is True
    assert all(
        weight.requires_grad for name, weight in module.model.named_parameters() if "lora_" in name
    )


def test_each_layer_keeps_less_for_backward():
    """Bytes that autograd holds, counted as they are saved."""

    def held(module: TrainingModule) -> int:
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            module(SAMPLES)
        return sum(kept.values())

    module = module_of("sac", "continuation")
    plain = held(module)
    module.adapter.backbone.call_layer = call_replayed
    assert held(module) < plain / 2
