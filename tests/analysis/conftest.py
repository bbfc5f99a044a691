"""Every method on the tiny model, and texts."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig
from sac_rag.methods import METHODS
from sac_rag.train.module import make_trainable
from sac_rag.train.samples import Sample
from tests.tiny import tiny_model


def ids(count: int, *, seed: int = 0) -> list[int]:
    """Draw token ids of the tiny vocabulary."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(3, 264, (count,), generator=draw).tolist()


@pytest.fixture(scope="session", params=METHODS)
def adapter(request):
    """An adapter of each method, at 5x, ready to be trained, LoRA not zero."""
    torch.manual_seed(1)
    made = Adapter.create(
        tiny_model(),
        compress=CompressConfig(ratio=5),
        lora=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        method=request.param,
    )
    for name, weight in made.backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    make_trainable(made)
    return made


@pytest.fixture(scope="session")
def samples():
    """Two texts, the second longer."""
    return [
        Sample(documents=(ids(30),), target=ids(12, seed=1)),
        Sample(documents=(ids(90, seed=2),), target=ids(25, seed=3)),
    ]


@pytest.fixture
def texts(tmp_path):
    """A file of texts."""
    path = tmp_path / "texts.jsonl"
    told = " ".join(f"The mill of town {n} has {n} wheels." for n in range(12))
    path.write_text("".join(json.dumps({"text": told * k}) + "\n" for k in (1, 2)))
    return path
