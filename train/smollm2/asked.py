"""A training run whose batches are questions about texts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qa_batches import Mix, QuestionBatch, batches, read_texts

from sac_rag.tokens import Tokens

import pair  # isort: skip  # on the path by qa_batches
import loop  # isort: skip

NAME = "SmolLM2-135M-Instruct"
RANK = 16
"""Of every LoRA."""


def arguments(description: str | None, *, minutes: float) -> argparse.ArgumentParser:
    """Give the parser of what trainings on questions are told."""
    parser = loop.arguments(description, minutes=minutes)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--out", type=Path, required=True, help="folder of what was trained")
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--joined", type=float, default=0.0, help="share asked among more texts")
    parser.add_argument("--far", type=float, default=0.0, help="share asked far from the texts")
    return parser


class AskedRun(loop.Run):
    """Reads question files; its trainings say what is learned. Few steps warm up: they are slow.

    Args:
        args: Base, data, seed, and the shares ``joined`` and ``far``.
        run: As ``loop.Run`` takes them.
    """

    def __init__(self, args: argparse.Namespace, **run: Any) -> None:
        super().__init__(work=args.work, lr=args.lr, warmup=30, **run)
        self.texts = read_texts(args.data, Tokens.from_pretrained(args.base))
        self._seed = args.seed
        self._mix = Mix(joined=args.joined, far=args.far)
        self._order = self._batches()

    def _batches(self) -> Iterator[QuestionBatch]:
        # another stop, another order; every process its own
        seed = self._seed + 1000 * self.step + pair.rank()
        return batches(self.texts, seed=seed, mix=self._mix)

    def load(self) -> None:
        """Go on from the last checkpoint, in an order of its own."""
        super().load()
        self._order = self._batches()

    def next_batch(self) -> QuestionBatch:
        """Give texts of like length with questions."""
        return next(self._order)
