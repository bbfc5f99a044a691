"""Teach SmolLM2 to answer from texts and from their anchors, and its adapter to write these.

    python train/smollm2/train_reader.py --base runs/smollm2 --start runs/smol-among/sac-5x \\
        --data '../shared/data/qa/*.train.jsonl.xz' --work runs/reader --out runs/reads \\
        --joined 0.4 --far 0.2

A decoder that comes as it is answers in sentences and has never read an anchor. Here a LoRA of its
own learns both, with the adapter: two steps of three answer from anchors, the third from the full
text (``--full-every 1``: every step, and the adapter stays as it is). Then it is merged and frozen:
``--out``/base, the LoRA it was made with in ``reading``, the adapter for it in ``sac-5x``. CPU,
with the fast layers of ``train/embedded``; it goes on from ``--work``, and SIGTERM stops it after a
step.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
from dataclasses import replace
from pathlib import Path

import torch
from asked import NAME, RANK, AskedRun, arguments
from joined import loss_among
from merging import merge_reading
from peft import get_peft_model
from qa_batches import QuestionBatch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM

import pair  # isort: skip  # on the path by qa_batches
import train_base  # isort: skip
from chunks import round_up  # isort: skip
from loop import WINDOW, train  # isort: skip
from reader import Reader, fast_dtype  # isort: skip
from train_sac import Weights, lora_pairs, merged, new_adapter, new_lora  # isort: skip

log = logging.getLogger("train")
STEP = 128
"""As the buckets of ``qa_batches`` are."""
READS = f"{NAME}, taught to read"


def widened(batch: QuestionBatch) -> QuestionBatch:
    """Pad a batch's texts to a multiple of ``STEP`` tokens: every other length is compiled anew."""
    width = batch.context.shape[1]
    free = round_up(width, STEP) - width
    return replace(batch, context=pad(batch.context, (0, free)))


class ReadingRun(AskedRun):
    """The training of both."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.adapter = new_adapter(
            args.base, start=args.start, ratio=args.ratio, rank=RANK, name=NAME
        )
        self.weights = Weights(self.adapter, dtype=fast_dtype())
        self.frozen = self.weights.decoder
        self.base = args.base
        plain = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
        self.reading = get_peft_model(plain, new_lora(RANK))
        self.pairs = lora_pairs(self.reading.get_base_model())
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        self.full_every = args.full_every
        self.full: list[float] = []
        method = self.adapter.method
        # what no step reads would only decay
        read = self.weights.matrices if self.full_every > 1 else []
        super().__init__(
            args,
            matrices=[*itertools.chain(*self.pairs.values()), *read],
            others=[method.anchor_embeddings, method.task_embeddings],
            decay=0.5,
        )

    def loss_of(self, batch: QuestionBatch) -> tuple[Tensor, float]:
        """Answer from anchors, or from the full text."""
        # the encoder stands on what the decoder has learned so far
        self.weights.decoder = merged(self.frozen, self.pairs)
        if self.step % self.full_every:
            compress = self.adapter.config.compress
            return loss_among(self.reader, self.weights, batch, compress)
        return train_base.loss_of(self.reader, self.weights.decoder, widened(batch))

    def hear(self, right: float) -> None:
        """Keep what was right in full apart."""
        if (self.step - 1) % self.full_every == 0:  # the step that was just taken
            self.full = [*self.full, right][-WINDOW:]
        else:
            super().hear(right)

    def tell(self, loss: float) -> None:
        """Log where both roads are."""
        super().tell(loss)
        if self.full:
            log.info("in full  right %.3f", sum(self.full) / len(self.full))

    def export(self, out: Path) -> None:
        """Write the decoder's LoRA, the decoder with it merged in, and the adapter for that."""
        copy.deepcopy(self.reading).bfloat16().save_pretrained(out / "reading")
        merge_reading(self.base, out / "reading", out / "base")
        ratio = self.adapter.config.compress.ratio
        folder = out / f"sac-{ratio}x"
        self.adapter.save_pretrained(folder)
        # once more, as the adapter of the decoder that was just written
        again = new_adapter(out / "base", start=folder, ratio=ratio, rank=RANK, name=READS)
        again.save_pretrained(folder)


def main(args: argparse.Namespace) -> None:
    """Train, then write the decoder that reads, and the adapter for it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(ReadingRun(args), args.out, minutes=args.minutes, steps=args.steps)


if __name__ == "__main__":
    parser = arguments(__doc__, minutes=40.0)
    parser.add_argument("--full-every", type=int, default=3, help="1: the decoder alone, in full")
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
