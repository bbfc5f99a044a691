"""Merge what a decoder has learned of reading into its weights.

python train/smollm2/merging.py runs/smollm2 runs/reads/reading runs/reads/base
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def merge_reading(base: Path, reading: Path, out: Path) -> None:
    """Write a base with a LoRA merged in, in bfloat16, and its tokenizer.

    The product is added in float64, whose last bits differ between machines, and rounded to
    bfloat16, where this is no longer seen: an adapter that was trained on these weights finds the
    same ones wherever they are made.

    Args:
        base: Folder of the decoder as it came.
        reading: Folder of the LoRA, as peft writes it.
        out: Folder of the new decoder.
    """
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    learned = PeftModel.from_pretrained(plain, reading).double()
    learned.merge_and_unload().bfloat16().save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)


if __name__ == "__main__":
    merge_reading(*map(Path, sys.argv[1:4]))
