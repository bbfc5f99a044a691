"""Teach the embedded decoder to continue prose: what pretraining an adapter on it takes.

    python train/embedded/prose.py --base train/embedded/full_text \\
        --data runs/embedded_table/data --out runs/embedded_table/base --steps 300

The embedded decoder was trained on answers alone. It is no language model: on the atlas' own prose
it is worse than a guess among all tokens, so that a loss on continuing or repeating a text teaches
an adapter nothing about the text. Here the whole decoder learns on from the texts (all tokens) and
the questions (context in full; answer and end alone) that the table is trained on, one batch of
each a step. AdamW, warm-up, then down in a line. ``prose.json`` tells the losses before and after
on records that it did not learn from.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag.data import read_qa, read_texts
from sac_rag.data.samples import PretrainSettings, QASettings, pretraining_pairs, qa_samples
from sac_rag.tokens import Tokens

IGNORE = -100
HELD_OUT = 48
"""Records of each kind that are measured and not learned from: the last ones, at most a fourth."""
WARMUP_STEPS = 20

Row = tuple[list[int], list[int]]
"""What is read without loss, and what carries it."""


def rows_of(data: Path, tokens: Tokens) -> tuple[list[Row], list[Row]]:
    """Read texts and questions as they stand in a prompt in full."""
    settings = PretrainSettings(min_tokens=2, max_tokens=4096)
    pairs = pretraining_pairs(
        read_texts(data / "texts.jsonl"), tokens=tokens, settings=settings, left_out=Counter()
    )
    prose = [([one["context_ids"][0]], one["context_ids"][1:] + one["target_ids"]) for one in pairs]
    asked = qa_samples(
        read_qa(data / "questions.jsonl"), tokens=tokens, settings=QASettings(), left_out=Counter()
    )
    return prose, [
        ([*chain(*one["context_ids"]), *one["question_ids"]], one["answer_ids"]) for one in asked
    ]


def loss_of(model: Any, rows: Sequence[Row]) -> Tensor:
    """Give the mean loss of the tokens that carry it."""
    length = max(len(read) + len(said) for read, said in rows)
    ids_BT = torch.zeros(len(rows), length, dtype=torch.int64)
    labels_BT = torch.full_like(ids_BT, IGNORE)
    for row, (read, said) in enumerate(rows):
        whole = torch.tensor(read + said)
        ids_BT[row, : len(whole)] = whole
        labels_BT[row, len(read) : len(whole)] = whole[len(read) :]
    # padding stands behind: causal attention never sees it
    kept_BT = labels_BT[:, 1:] != IGNORE
    hidden_BTD = model.model(input_ids=ids_BT).last_hidden_state[:, :-1]
    return cross_entropy(model.lm_head(hidden_BTD[kept_BT]), labels_BT[:, 1:][kept_BT])


@torch.no_grad()
def measured(model: Any, kinds: dict[str, list[Row]]) -> dict[str, float]:
    """Give the held-out loss of each kind, in nats a token."""
    return {name: loss_of(model, rows[-_held_out(rows) :]).item() for name, rows in kinds.items()}


def _held_out(rows: list[Row]) -> int:
    return min(HELD_OUT, max(1, len(rows) // 4))


def _batches(rows: list[Row], size: int, seed: int) -> Iterator[list[Row]]:
    draw = torch.Generator().manual_seed(seed)
    learned = rows[: -_held_out(rows)]
    if len(learned) < size:
        raise SystemExit(f"{len(learned)} records to learn from make no batch of {size}; give more")
    while True:
        order = torch.randperm(len(learned), generator=draw).tolist()
        for first in range(0, len(order) - size + 1, size):
            yield [learned[index] for index in order[first : first + size]]


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Train and write the model, with its tokenizer; what is there already is left as it is.

    Raises:
        SystemExit: If ``--out`` was made otherwise: what was trained on it is not comparable.
    """
    asked = {name: getattr(args, name) for name in ("steps", "lr", "batch", "seed")}
    if args.out.exists():
        made = args.out / "prose.json"
        known = json.loads(made.read_text("utf-8")) if made.is_file() else {}
        if {name: known.get(name) for name in asked} != asked:
            raise SystemExit(f"{args.out} is not of {asked}; give another --out, or remove it")
        return known
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
    prose, answers = rows_of(args.data, Tokens(tokenizer))
    kinds = {"prose": prose, "answers": answers}
    before = measured(model, kinds)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), fused=True)
    batches = [_batches(rows, args.batch, args.seed) for rows in kinds.values()]
    for step in range(args.steps):
        left = (args.steps - step) / max(1, args.steps - WARMUP_STEPS)
        optimizer.param_groups[0]["lr"] = args.lr * min(1.0, (step + 1) / WARMUP_STEPS, left)
        losses = [loss_of(model, next(rows)) for rows in batches]
        sum(losses).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0:
            words = (f"{name} {loss.item():.3f}" for name, loss in zip(kinds, losses, strict=True))
            print(f"step {step}: {', '.join(words)}", flush=True)
    facts = {"before": before, "after": measured(model, kinds), **asked}
    temporary = args.out.with_name(f".{args.out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    (temporary / "prose.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    temporary.rename(args.out)
    print(json.dumps(facts), flush=True)
    return facts


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what table_texts.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8, help="texts, and questions, of a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
