"""Micro's size, and how it is written."""

from __future__ import annotations

import json

import pytest
import torch
from decoder import SIZES, Reader, export, mean_loss, new_model, rehearse
from groups import IGNORE
from transformers import AutoModelForCausalLM


class _Pieces:
    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self) -> int:
        return 8192


def test_micro_is_of_the_size_that_was_asked_for(tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    model = new_model("micro", _Pieces(), seed=0)
    assert 25e6 <= model.num_parameters() <= 28e6
    export(model, tmp_path, tmp_path / "out")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert sum(sizes.values()) <= 56e6
    shards = [size for name, size in sizes.items() if name.endswith(".safetensors")]
    assert len(shards) > 1
    assert max(shards) < 15e6
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.config.max_position_embeddings == 2048
    assert again.config.num_key_value_heads < again.config.num_attention_heads
    for (name, value), other in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(value, other.to(torch.bfloat16)), name
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"]


def test_the_other_sizes_are_for_trials():
    assert new_model("half-million", _Small(), seed=0).num_parameters() < 0.6e6
    assert set(SIZES) == {"micro", "half-million", "toy"}


def test_what_does_not_compile_runs_as_it_is():
    model = new_model("toy", _Small(), seed=0)
    windows = torch.arange(66).view(2, 33)
    expected = Reader(model, attention="sdpa", compiled=False).text_loss(windows)
    reader = Reader(model, attention="sdpa", compiled=True)

    def no_compiler() -> torch.Tensor:
        raise RuntimeError("no compiler is here")

    def no_room() -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):  # less compiled would take more of it
        rehearse(reader, no_room)
    assert reader.compiled
    assert "no compiler is here" in rehearse(reader, no_compiler)
    assert torch.equal(reader.text_loss(windows), expected)
    assert rehearse(reader, no_compiler) == ""  # nothing is tried that is not compiled


def test_a_rehearsal_leaves_no_gradient(monkeypatch):
    model = new_model("toy", _Small(), seed=0)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    reader = Reader(model, attention="sdpa", compiled=True)
    weight = model.model.layers[0].mlp.up_proj.weight
    seen = []
    weight.register_hook(lambda slope: seen.append(slope.norm().item()))
    assert rehearse(reader, lambda: weight.square().sum()) == ""
    assert seen[0] > 0
    assert weight.grad is None


def test_a_batch_without_answers_has_no_loss():
    """A mean over nothing would be no number, and one of them spoils all weights."""
    hidden = torch.randn(4, 8, requires_grad=True)
    loss = mean_loss(hidden, torch.full((4,), IGNORE), torch.randn(5, 8))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))


class _Small(_Pieces):
    def __len__(self) -> int:
        return 1000
