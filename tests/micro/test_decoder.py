"""Micro's size, and how it is written."""

from __future__ import annotations

import json

import torch
from decoder import SIZES, export, new_model
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


class _Small(_Pieces):
    def __len__(self) -> int:
        return 1000
