"""Stage B: micro learns to read, answering questions about one to ten documents.

    python train/micro/train_reading.py --base runs/micro/base --readings runs/micro/readings \\
        --tokens runs/micro/tokens/*.npy.xz --tokenizer runs/micro/tokenizer \\
        --work runs/micro/reading --out runs/micro/model

One H100 or H200, six minutes; README.md has the arithmetic. Rows are groups of documents and
questions (``groups.py``), half from the QA training sets, half cloze; a fourth of each batch is
plain text, so that the language stays. Called again it goes on. Not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from budget_loop import Run
from decoder import Reader, choose_attention, rehearse
from groups import Groups, Row
from optimizers import OPTIMIZERS
from readings import Store
from token_file import Windows, open_tokens, unpacked
from torch import Tensor
from train_language import budget_of, common_arguments, exporting, resumed
from transformers import AutoTokenizer, LlamaForCausalLM

from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens

TARGETS_A_ROW = 300
"""Answer tokens of a full row are fewer; what is beyond carries no loss."""


@dataclass(frozen=True, kw_only=True)
class ReadingBatches:
    """Batch ``n``: rows of groups, and windows of text beside them."""

    groups: Groups
    windows: Windows
    rows: int
    """Rows of groups."""
    text_rows: int

    def __call__(self, number: int) -> dict[str, Tensor]:
        """Give the fields of ``Row``, (B, T), and ``windows``."""
        drawn = [self.groups.row(number * self.rows + row) for row in range(self.rows)]
        batch = stacked(drawn)
        text = self.windows.rows(number * self.text_rows, self.text_rows)
        return batch | {"windows": torch.from_numpy(text)}


def stacked(rows: list[Row]) -> dict[str, Tensor]:
    """Stack rows, field by field."""
    return {
        one.name: torch.from_numpy(np.stack([getattr(row, one.name) for row in rows]))
        for one in fields(Row)
    }


def batches_of(args: argparse.Namespace, tokenizer: Any) -> ReadingBatches:
    """Open everything that is read."""
    stores = [
        (Store.open(args.readings / "qa"), args.qa_share),
        (Store.open(args.readings / "cloze"), 1 - args.qa_share),
    ]
    separator = Tokens(tokenizer).encode(PromptFormat().document_separator)
    groups = Groups(
        stores,
        width=args.width,
        bos=tokenizer.bos_token_id,
        pad=tokenizer.pad_token_id,
        separator=separator,
        seed=args.seed,
    )
    files = [open_tokens(unpacked(path)) for path in args.tokens]
    windows = Windows(files, width=args.width + 1, seed=args.seed)
    text_rows = max(1, round(args.rows * args.text_share))
    return ReadingBatches(
        groups=groups, windows=windows, rows=max(1, args.rows - text_rows), text_rows=text_rows
    )


def main(args: argparse.Namespace) -> bool:
    """Train; give whether the run is finished."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = LlamaForCausalLM.from_pretrained(args.base, dtype=torch.float32).to(device)
    batches = batches_of(args, tokenizer)
    compiled = args.compile if args.compile is not None else device.type == "cuda"
    most = batches.rows * TARGETS_A_ROW

    def loss_with(reader: Reader, batch: dict[str, Tensor]) -> Tensor:
        windows = batch.pop("windows")
        answers = reader.answer_loss(batch, most=most)
        return answers + args.text_weight * reader.text_loss(windows)

    def first_loss(reader: Reader) -> Tensor:
        return loss_with(reader, {name: value.to(device) for name, value in batches(0).items()})

    def at_size(attention: str) -> None:
        first_loss(Reader(model, attention=attention, compiled=compiled)).backward()

    trial = {name: value.to(device) for name, value in stacked([batches.groups.row(0)]).items()}
    attention, why = choose_attention(model, trial, args.attention, at_size=at_size)
    logging.info("attention: %s (%s)", attention, why)
    model.zero_grad(set_to_none=True)
    reader = Reader(model, attention=attention, compiled=compiled)
    logging.info("compiled: %s", rehearse(reader, lambda: first_loss(reader)) or reader.compiled)
    run = Run(
        model=model,
        optimizers=OPTIMIZERS[args.optimizer](model, args.lr),
        lr=args.lr,
        make_batch=batches,
        loss_of=lambda batch: loss_with(reader, batch),
        work=args.work,
        identity={
            "stage": "reading",
            "rows": args.rows * args.accumulate,
            "width": args.width,
            "text_share": args.text_share,
            "text_weight": args.text_weight,
            "qa_share": args.qa_share,
            "optimizer": args.optimizer,
            "lr": args.lr,
            "seed": args.seed,
        },
        after_save=exporting(model, args),
        resume=resumed(model, args),
    )
    return run.train(budget_of(args))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = common_arguments(__doc__, lr=1e-3, whole_minutes=5.5)
    parser.add_argument("--base", type=Path, required=True, help="what stage A wrote")
    parser.add_argument("--readings", type=Path, required=True)
    parser.add_argument("--attention", default="auto", help="auto, sdpa or flex_attention")
    parser.add_argument("--qa-share", type=float, default=0.5, help="of groups; the rest is cloze")
    parser.add_argument("--text-share", type=float, default=0.25, help="of rows")
    parser.add_argument("--text-weight", type=float, default=0.3, help="of their loss")
    main(parser.parse_args())
