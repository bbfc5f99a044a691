"""Measure on the card, in two minutes, what the plan in README.md assumes.

    python train/micro/probe.py --tokenizer runs/micro/tokenizer --out runs/probe.json

Tokens a second of both stages, compiled, and of both ways of keeping groups apart; whether the two
ways agree; peak memory. Rows are random tokens in the shape of real groups. ``--tiny`` is for a
trial without a card.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoder import Reader, choose_attention, new_model
from groups import Groups
from optimizers import adamw
from readings import Store
from torch import Tensor
from train_reading import TARGETS_A_ROW, stacked
from transformers import AutoTokenizer

STEPS = 12
"""Timed steps, after as many that are not: the first ones compile."""


def random_store(vocabulary: int, *, seed: int = 0) -> Store:
    """Make contexts of some 170 tokens with five questions each, as the real ones have."""
    draw = np.random.default_rng(seed)
    contexts, questions, first, place = [], [], [0], 0
    for _ in range(400):
        length = int(draw.integers(80, 260))
        contexts.append((place, place + length))
        place += length
        for _ in range(5):
            questions.append((place, place + 22, place + 27))
            place += 27
        first.append(len(questions))
    ids = draw.integers(10, vocabulary, place).astype(np.uint16)
    return Store(
        ids=ids, contexts=np.array(contexts), questions=np.array(questions), first=np.array(first)
    )


def timed(model: Any, loss_of: Any, batch: dict[str, Tensor], steps: int) -> float:
    """Give the seconds of a training step."""
    optimizers = adamw(model, 1e-4)
    on_card = next(model.parameters()).is_cuda
    began = 0.0
    for step in range(2 * steps):
        if step == steps:
            if on_card:
                torch.cuda.synchronize()
            began = time.time()
        loss_of(batch).backward()
        optimizers[0].step()
        optimizers[0].zero_grad(set_to_none=True)
    if on_card:
        torch.cuda.synchronize()
    return (time.time() - began) / steps


def main(args: argparse.Namespace) -> None:
    """Measure, print a line each, write JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    size, width, rows, steps = "micro", 2048, 64, STEPS
    if args.tiny:
        size, width, rows, steps = "toy", 512, 1, 1
    groups = Groups(
        [(random_store(len(tokenizer)), 1.0)],
        width=width,
        bos=1,
        pad=0,
        separator=[10],
        seed=0,
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "runs": []}
    model = new_model(size, tokenizer, seed=0).to(device)
    one = {key: value.to(device) for key, value in stacked([groups.row(0)]).items()}
    attention, why = choose_attention(model, one)
    found["attention"] = [attention, why]
    print(attention, why, flush=True)
    batch = stacked([groups.row(number) for number in range(rows)])
    batch = {key: value.to(device) for key, value in batch.items()}
    # text is read from windows of one token more
    batch["windows"] = torch.cat((batch["ids"], batch["ids"][:, :1]), dim=1)
    for stage, way in dict.fromkeys(
        [("language", "sdpa"), ("reading", "sdpa"), ("reading", attention)]
    ):
        line = {"stage": stage, "attention": way, "rows": rows}
        try:
            line |= measured(size, tokenizer, batch, stage=stage, way=way, steps=steps)
        except Exception as error:  # a road that fails is a finding; the others are still measured
            line["failed"] = f"{type(error).__name__}: {error}"
        found["runs"].append(line)
        print(json.dumps(line), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(
    size: str, tokenizer: Any, batch: dict[str, Tensor], *, stage: str, way: str, steps: int
) -> dict[str, float]:
    """Time a stage on a batch, compiled on CUDA; seconds a step, tokens a second, peak memory."""
    device, (rows, width) = batch["ids"].device, batch["ids"].shape
    on_card = device.type == "cuda"
    torch.compiler.reset()
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = new_model(size, tokenizer, seed=0).to(device)
    reader = Reader(model, attention=way, compiled=on_card)

    def loss_of(batch: dict[str, Tensor]) -> Tensor:
        if stage == "language":
            return reader.text_loss(batch["windows"])
        return reader.answer_loss(batch, most=rows * TARGETS_A_ROW)

    began = time.time()
    step_s = timed(model, loss_of, batch, steps)
    told = {"step_s": round(step_s, 4), "tokens_s": round(rows * width / step_s)}
    told["with_compilation_s"] = round(time.time() - began, 1)
    if on_card:
        told["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    main(parser.parse_args())
