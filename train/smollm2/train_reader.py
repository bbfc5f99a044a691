"""Teach SmolLM2 to answer from texts and from their anchors, and its adapter to write these.

    python train/smollm2/train_reader.py --base runs/smollm2 --start runs/smol-among/sac-5x \\
        --data '../shared/data/qa/*.train.jsonl.xz' --work runs/reader --out runs/reads --minutes 40

A decoder that comes as it is answers in sentences and has never read an anchor. Here a LoRA of its
own learns both, with the adapter: two steps of three answer from anchors, the third from the full
text. Then it is merged and frozen (``--out``/base, and the adapter for it beside it). CPU, with the
fast layers of ``train/embedded``; it goes on from ``--work``, and SIGTERM stops it after a step.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from asked import AskedRun
from joined import loss_among
from qa_batches import QuestionBatch
from reading import SCALE, ReadingLora, merge, write_reader
from torch import Tensor

from sac_rag.adapter import Adapter

import pair  # isort: skip  # on the path by qa_batches
import train_base  # isort: skip
import train_sac  # isort: skip
from loop import WINDOW, arguments, train  # isort: skip
from reader import Reader, fast_dtype  # isort: skip

log = logging.getLogger("train")
RANK = 16
FULL_EVERY = 3
"""Of so many steps one reads in full."""
NAME = "SmolLM2-135M-Instruct"


class BothWeights(train_sac.Weights):
    """Decoder and encoder by the names of the fast layers; both hold what the decoder learns."""

    def __init__(self, adapter: Adapter, reading: ReadingLora, *, dtype: torch.dtype) -> None:
        super().__init__(adapter, dtype=dtype)
        self._frozen, self._reading = self.decoder, reading

    def refresh(self) -> None:
        """Take what the decoder has learned so far, differentiable."""
        learned = {
            name: torch.addmm(
                self._frozen[name], (SCALE * up).to(self._dtype), down.to(self._dtype)
            )
            for name, (down, up) in self._reading.pairs.items()
        }
        self.decoder = {**self._frozen, **learned}


class ReadingRun(AskedRun):
    """The training of both."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.base = args.base
        self.adapter = train_sac.new_adapter(
            args.base, start=args.start, ratio=args.ratio, rank=RANK, name=NAME
        )
        self.reading = ReadingLora(self.adapter.backbone.causal_lm, rank=RANK)
        self.weights = BothWeights(self.adapter, self.reading, dtype=fast_dtype())
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        self.full: list[float] = []
        method = self.adapter.method
        super().__init__(
            args,
            matrices=[*self.reading.matrices, *self.weights.matrices],
            others=[method.anchor_embeddings, method.task_embeddings],
            decay=0.5,
        )

    def loss_of(self, batch: QuestionBatch) -> tuple[Tensor, float]:
        """Answer from anchors, or from the full text."""
        self.weights.refresh()
        if self.step % FULL_EVERY:
            compress = self.adapter.config.compress
            return loss_among(self.reader, self.weights, batch, compress)
        return train_base.loss_of(self.reader, self.weights.decoder, batch)

    def hear(self, right: float) -> None:
        """Keep what was right in full apart."""
        if self.step % FULL_EVERY == 1:  # the step that was just taken
            self.full = [*self.full, right][-WINDOW:]
        else:
            super().hear(right)

    def tell(self, loss: float) -> None:
        """Log where both roads are."""
        super().tell(loss)
        if self.full:
            log.info("in full  right %.3f", sum(self.full) / len(self.full))

    def export(self, out: Path) -> None:
        """Write the decoder's LoRA, and the adapter as it was trained, beside it."""
        write_reader(self.reading, self.adapter, out)


def main(args: argparse.Namespace) -> None:
    """Train, then write the decoder that reads, and the adapter for it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    learned = args.work / "learned"
    train(ReadingRun(args), learned, minutes=args.minutes, steps=args.steps)
    if pair.rank() == 0:
        merge(args.base, learned, args.out, ratio=args.ratio, name=f"{NAME}, taught to read")


if __name__ == "__main__":
    parser = arguments(__doc__, minutes=40.0)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--out", type=Path, required=True, help="folder of decoder and adapter")
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--joined", type=float, default=0.4, help="share asked among more texts")
    parser.add_argument("--far", type=float, default=0.2, help="share asked far from the texts")
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
