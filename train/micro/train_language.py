"""Stage A: micro learns English, predicting the next token of packed text.

    python train/micro/train_language.py --tokens runs/micro/tokens/*.npy.xz \\
        --tokenizer runs/micro/tokenizer --work runs/micro/language --out runs/micro/base

One H100 or H200, nine minutes; README.md has the arithmetic. Called again it goes on from its
checkpoint, so a shorter ``--minutes`` only means more calls. Windows of 2,048 tokens are cut from
the stream without regard to documents: attention is plain causal (the fastest kernel there is), and
BOS tells the model that a new text begins. Not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import freight
import torch
from budget_loop import Budget, Run
from decoder import SIZES, WINDOW, Reader, export, new_model, rehearse
from optimizers import OPTIMIZERS
from token_file import Windows, open_tokens, unpacked
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM

PROGRESS = "progress.json"
"""Beside an exported model: how far its run was."""


@dataclass(frozen=True)
class TextBatches:
    """Batch ``n``: the windows of its rows."""

    windows: Windows
    rows: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Give ``windows``, (B, T + 1)."""
        return {"windows": torch.from_numpy(self.windows.rows(number * self.rows, self.rows))}


def main(args: argparse.Namespace) -> bool:
    """Train; give whether the run is finished."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = new_model(args.size, tokenizer, seed=args.seed).to(device)
    files = [open_tokens(unpacked(path)) for path in args.tokens]
    windows = Windows(files, width=args.width + 1, seed=args.seed)
    compiled = args.compile if args.compile is not None else device.type == "cuda"
    reader = Reader(model, attention="sdpa", compiled=compiled)
    make_batch = TextBatches(windows, args.rows)
    first = make_batch(0)["windows"].to(device)
    logging.info("compiled: %s", rehearse(reader, lambda: reader.text_loss(first)) or compiled)
    run = Run(
        model=model,
        optimizers=OPTIMIZERS[args.optimizer](model, args.lr),
        lr=args.lr,
        make_batch=make_batch,
        loss_of=lambda batch: reader.text_loss(batch["windows"]),
        work=args.work,
        identity={
            "stage": "language",
            "size": args.size,
            "rows": args.rows * args.accumulate,
            "width": args.width,
            "windows": len(windows),
            "optimizer": args.optimizer,
            "lr": args.lr,
            "seed": args.seed,
        },
        after_save=exporting(model, args),
        resume=resumed(model, args),
    )
    logging.info(
        "%s weights, %s windows a pass, %s tokens a step, on %s",
        f"{model.num_parameters():,}",
        f"{len(windows):,}",
        f"{args.rows * args.accumulate * args.width:,}",
        device,
    )
    return run.train(budget_of(args))


def exporting(model: LlamaForCausalLM, args: argparse.Namespace) -> Callable[[dict], None]:
    """Give what follows a checkpoint: the model in bfloat16, and with ``--home`` its way home."""

    def write(facts: dict[str, Any]) -> None:
        export(model, args.tokenizer, args.out)
        (args.out / PROGRESS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        if args.home:
            history = args.work / "history.jsonl"
            freight.home([args.out, *([history] if history.is_file() else [])], args.home)

    return write


def resumed(model: LlamaForCausalLM, args: argparse.Namespace) -> dict[str, Any] | None:
    """Take the weights that came home from another machine, if ``--resume`` names them."""
    if not args.resume:
        return None
    came = LlamaForCausalLM.from_pretrained(args.resume, dtype=torch.float32)
    model.load_state_dict(came.state_dict())
    return json.loads((args.resume / PROGRESS).read_text("utf-8"))


def budget_of(args: argparse.Namespace) -> Budget:
    """Read the budget that ``common_arguments`` asked for."""
    return Budget(
        minutes=args.minutes,
        started=args.started,
        steps=args.steps,
        whole_minutes=args.whole_minutes,
        accumulate=args.accumulate,
        workers=args.workers,
    )


def common_arguments(
    doc: str | None, *, lr: float, whole_minutes: float
) -> argparse.ArgumentParser:
    """Give a parser of what both stages take."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--tokens", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="checkpoint and history")
    parser.add_argument("--out", type=Path, required=True, help="the model in bfloat16")
    parser.add_argument("--minutes", type=float, default=9.4, help="of this call")
    parser.add_argument("--whole-minutes", type=float, default=whole_minutes, help="of the run")
    parser.add_argument("--steps", type=int, default=0, help="of the run, instead of its minutes")
    parser.add_argument("--rows", type=int, default=64, help="on the device at once")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--width", type=int, default=WINDOW)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--home", type=Path, help="parts of the model follow each checkpoint there")
    parser.add_argument("--resume", type=Path, help="an exported model to go on from")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction)
    parser.set_defaults(started=time.time())
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments = common_arguments(__doc__, lr=2e-3, whole_minutes=8.6)
    arguments.add_argument("--size", choices=SIZES, default="micro")
    main(arguments.parse_args())
