"""The LoRA with which a decoder learns to read, as peft stores it; merged before it is used."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag.adapter import Adapter

import qa_batches  # isort: skip  # noqa: F401  # puts nano's training on the path
from train_sac import LINEARS, SCALE, new_adapter  # isort: skip


class ReadingLora:
    """A low-rank change of every linear map of a decoder, at first none.

    Args:
        model: Of transformers, wrapped by peft or not; it is left as it is.
        rank: Of the change.
    """

    def __init__(self, model: nn.Module, *, rank: int) -> None:
        self.rank = rank
        self.pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for name, weight in model.named_parameters():
            plain = name.replace(".base_layer", "")
            if plain.split(".")[-2] not in LINEARS or ".lora_" in name:
                continue
            outer, inner = weight.shape
            down = torch.empty(rank, inner)
            nn.init.kaiming_uniform_(down, a=5**0.5)  # as peft draws it
            self.pairs[plain] = nn.Parameter(down), nn.Parameter(torch.zeros(outer, rank))

    @property
    def matrices(self) -> list[nn.Parameter]:
        """All of its parameters."""
        return [parameter for both in self.pairs.values() for parameter in both]


def write_reader(reading: ReadingLora, adapter: Adapter, out: Path) -> None:
    """Write ``out``/reader, a LoRA of peft, and ``out``/sac-<ratio>x, trained on top of it."""
    folder = out / "reader"
    config = LoraConfig(
        r=reading.rank,
        lora_alpha=int(reading.rank * SCALE),
        target_modules=list(LINEARS),
        task_type="CAUSAL_LM",
        base_model_name_or_path=adapter.config.base_model,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    tensors = {}
    for name, (down, up) in reading.pairs.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        tensors[f"{stem}.lora_A.weight"] = down.detach().contiguous()
        tensors[f"{stem}.lora_B.weight"] = up.detach().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    adapter.save_pretrained(out / f"sac-{adapter.config.compress.ratio}x")


def merge(base: Path, learned: Path, out: Path, *, ratio: int, name: str) -> None:
    """Write ``out``/base, the decoder that has learned to read, and the adapter for it beside it.

    Args:
        base: The decoder before.
        learned: What ``write_reader`` wrote.
        out: Folder of both.
        ratio: Tokens per anchor of the adapter.
        name: How the adapter calls its base.
    """
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, learned / "reader").merge_and_unload()
    merged.save_pretrained(out / "base")
    AutoTokenizer.from_pretrained(base).save_pretrained(out / "base")
    written = learned / f"sac-{ratio}x"
    rank = LoraConfig.from_pretrained(str(written)).r
    adapter = new_adapter(out / "base", start=written, ratio=ratio, rank=rank, name=name)
    adapter.save_pretrained(out / f"sac-{ratio}x")
