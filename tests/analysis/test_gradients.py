"""A gradient has cosine 1 with itself; the weights that are measured are those that both move."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from sac_rag.analysis import GradientCallback, gradient_cosines, measure_checkpoints
from sac_rag.analysis import gradients as module
from sac_rag.analysis.gradients import join_steps, read_lines
from sac_rag.errors import ConfigError, InputFileError
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.run import run_stage
from tests.tiny import tiny_adapter, tiny_model


def test_a_gradient_is_parallel_to_itself(adapter, samples, monkeypatch):
    monkeypatch.setitem(module.OBJECTIVES, "autoencoding", OBJECTIVES["continuation"])
    found = gradient_cosines(adapter, samples, step=3)
    assert found.steps.tolist() == [3]
    assert found.cosine == pytest.approx([1.0])
    assert found.by_layer[np.isfinite(found.by_layer)] == pytest.approx(1.0)
    assert found.norms[0, 0] == pytest.approx(found.norms[0, 1])


def _grad(weight):
    """Nothing asks the queries of the encoder's last layer: only its anchors' keys and values."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def test_it_is_the_cosine_of_what_backward_gives(adapter, samples):
    """The other road: two backward passes over the whole batch."""
    named = [*adapter.backbone.model.named_parameters(), *adapter.method.named_parameters()]
    weights = [one for name, one in named if one.requires_grad and name != "task_embeddings"]
    flat = []
    for name in ("autoencoding", "continuation"):
        anchors = compress_samples(adapter.method, samples)
        OBJECTIVES[name](adapter.method, samples, anchors).mean().backward()
        flat.append(torch.cat([_grad(one).flatten() for one in weights]))
        adapter.backbone.model.zero_grad()
        adapter.method.zero_grad()
    found = gradient_cosines(adapter, samples, step=0)
    expected = torch.nn.functional.cosine_similarity(*flat, dim=0)
    assert found.cosine[0] == pytest.approx(expected.item(), abs=1e-3)
    assert found.norms[0] == pytest.approx([one.norm().item() for one in flat], rel=1e-3)
    assert found.by_layer.shape == (1, 3)


def test_measuring_leaves_the_weights_alone(adapter, samples):
    before = {name: one.clone() for name, one in adapter.method.state_dict().items()}
    gradient_cosines(adapter, samples, step=0)
    assert all(torch.equal(before[name], one) for name, one in adapter.method.state_dict().items())
    assert all(one.grad is None for one in adapter.method.parameters())


def test_what_learns_nothing_is_refused(samples):
    frozen = tiny_adapter(tiny_model())
    frozen.backbone.model.requires_grad_(False)
    with pytest.raises(ConfigError, match="make_trainable"):
        gradient_cosines(frozen, samples, step=0)
    # saved adapters are made trainable on the way, and read step by step
    found = measure_checkpoints([(5, frozen), (0, frozen)], samples)
    assert found.steps.tolist() == [0, 5]
    assert found.cosine[0] == found.cosine[1]


def test_a_training_is_measured_and_goes_the_way_it_would_have_gone(tiny_folders, tmp_path):
    def train(out, **callbacks):
        settings = {
            "stage": "pretrain",
            "out": str(out),
            "model": str(tiny_folders[0]),
            "compress": {"ratio": 5},
            "lora": {"rank": 4, "alpha": 8},
            "objectives": {"continuation": 1.0, "autoencoding": 1.0},
            "data": {
                "train": ["synthetic://text?records=8&facts=2"],
                "min_tokens": 20,
                "max_tokens": 400,
            },
            "optim": {"lr": 3.0e-3, "warmup_steps": 1},
            "steps": 4,
            "batch": 2,
            "micro_batch": 2,
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(settings))
        return run_stage(read_recipe(path), **callbacks)

    measured = train(tmp_path / "one", callbacks=[GradientCallback(every=2, num_samples=2)])
    plain = train(tmp_path / "two")
    found = read_lines(tmp_path / "one")
    assert found.steps.tolist() == [0, 2, 4]
    assert (np.abs(found.cosine) <= 1).all()
    assert len(set(found.cosine.tolist())) == 3
    for name in ("adapter_model.safetensors", "sac_embeddings.safetensors"):
        assert (measured / name).read_bytes() == (plain / name).read_bytes()
    with pytest.raises(InputFileError, match="measured no gradients"):
        read_lines(tmp_path / "two")


def test_of_a_step_measured_twice_the_later_counts(adapter, samples):
    first, again = (gradient_cosines(adapter, samples[:n], step=7) for n in (1, 2))
    joined = join_steps([first, again])
    assert joined.steps.tolist() == [7]
    assert joined.cosine[0] == again.cosine[0] != first.cosine[0]
