"""Train a SAC adapter for SmolLM2-135M-Instruct on real questions, on CPU.

    pip install gguf && python tests/real/fetch.py runs/smollm2
    python train/smollm2/train_adapter.py --base runs/smollm2 --minutes 60 \\
        --data '../shared/data/qa/*.train.jsonl.xz' --work runs/smol --out runs/smol/sac-5x

The decoder stays frozen. This is the second stage of the paper alone (questions, no continuation),
with the loop and the fast layers of ``train/embedded``: with AMX they compute bfloat16, and several
questions share the encoding of their text. It begins with an anchor at every token (``LADDER``), or
with what ``--start`` has learned. It goes on from ``--work``; SIGTERM stops it after a step. What
160 minutes gave is in ``README.md``.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from asked import NAME, RANK, AskedRun, arguments
from joined import loss_among
from qa_batches import QuestionBatch
from torch import Tensor, manual_seed

import pair  # isort: skip  # on the path by qa_batches
from loop import train  # isort: skip
from reader import Reader, fast_dtype  # isort: skip
from train_sac import Weights, new_adapter  # isort: skip

LADDER = ((0.05, 1), (0.15, 2), (0.25, 3))
"""Tokens per anchor until this share of the time is over; then the adapter's own.

One anchor a token is what the decoder can read: it learns to answer briefly first, then with fewer
anchors, and never has to find out from nothing that they say something."""


class QuestionRun(AskedRun):
    """The adapter's training on question files."""

    def __init__(self, args: argparse.Namespace) -> None:
        manual_seed(args.seed)
        self.adapter = new_adapter(
            args.base, start=args.start, ratio=args.ratio, rank=RANK, name=NAME
        )
        self.weights = Weights(self.adapter, dtype=fast_dtype())
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        self.ladder = () if args.start else LADDER
        # shapes of the ladder's first steps are not worth compiling
        self.early = Reader(self.adapter.backbone.config, compiled=False)
        self.early.context_layer = self.reader.context_layer
        method = self.adapter.method
        super().__init__(
            args,
            matrices=self.weights.matrices,
            others=[method.anchor_embeddings, method.task_embeddings],
            decay=0.3,
        )

    def loss_of(self, batch: QuestionBatch) -> tuple[Tensor, float]:
        """Encode the texts to anchors and answer from them."""
        compress = self.adapter.config.compress
        ratio = next((few for until, few in self.ladder if self.done < until), compress.ratio)
        if ratio >= compress.ratio:
            return loss_among(self.reader, self.weights, batch, compress)
        return loss_among(self.early, self.weights, batch, replace(compress, ratio=ratio))

    def export(self, out: Path) -> None:
        """Write the adapter."""
        self.adapter.save_pretrained(out)


def main(args: argparse.Namespace) -> None:
    """Train, then write the adapter."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(QuestionRun(args), args.out, minutes=args.minutes, steps=args.steps)


if __name__ == "__main__":
    given = arguments(__doc__, minutes=60.0).parse_args()
    pair.launch(main, given, processes=given.processes)
