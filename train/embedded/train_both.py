"""Let the embedded decoder learn to read anchors, and its adapter to write them, in one training.

    python train/embedded/train_both.py --base train/embedded/full_text \\
        --out sac_rag/embedded/nano --work runs/both

A decoder of three million parameters that has only ever seen full text finds an answer's tokens
one by one, each where it stands; from one place that holds five of them it reads the first and
loses the last. Large decoders have other ways. Here every batch is answered from anchors, every
third from the full text as well, and both losses move the decoder; ``train_sac.py`` then goes on
with the adapter on the frozen result. Two CPU cores with AMX, 50 minutes for the shipped model. It
goes on from ``--work``; ``--steps N --tiny`` is for a test.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pair
import torch
import train_base
import train_sac
from build_tokenizer import save as save_tokenizer
from curriculum import Batch, Coder
from loop import WINDOW, Climb, arguments, train
from reader import Reader, fast_dtype
from torch import Tensor
from transformers import AutoTokenizer, LlamaForCausalLM

from sac_rag.adapter import Adapter

log = logging.getLogger("train")
FIRST_LEVEL, PASS = 7, 0.8
FULL_EVERY = 3
"""Of so many batches one is also read in full, which the decoder can do when this begins."""


class Both(train_sac.Weights):
    """Decoder and adapter, both of them learning."""

    def __init__(self, adapter: Adapter, *, dtype: torch.dtype) -> None:
        super().__init__(adapter, dtype=dtype)
        named = adapter.backbone.causal_lm.named_parameters()
        self.learning = {
            name.replace(".base_layer", ""): parameter.requires_grad_()
            for name, parameter in named
            if ".lora_" not in name
        }

    def refresh(self) -> None:
        """Take the decoder's weights as they are now, differentiable."""
        self.decoder = {name: p.to(self._dtype) for name, p in self.learning.items()}


class BothRun(Climb):
    """The training of both: every batch from anchors, some in full as well."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.adapter = train_sac.new_adapter(args.base, start=args.start, ratio=args.ratio)
        self.weights = Both(self.adapter, dtype=fast_dtype())
        self.full: list[float] = []
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        inner = [p for n, p in self.weights.learning.items() if p.dim() == 2 and "layers" in n]
        outer = [p for p in self.weights.learning.values() if all(p is not q for q in inner)]
        method = self.adapter.method
        super().__init__(
            work=args.work,
            coder=Coder(AutoTokenizer.from_pretrained(args.base)),
            matrices=[*inner, *self.weights.matrices],
            others=[*outer, method.anchor_embeddings, method.task_embeddings],
            lr=args.lr,
            decay=0.8,
            level=FIRST_LEVEL,
            mark=PASS,
        )

    def loss_of(self, batch: Batch) -> tuple[Tensor, float]:
        """Answer from anchors, and some batches in full; give the anchors' share of right ones."""
        self.weights.refresh()
        compress = self.adapter.config.compress
        loss, right = train_sac.loss_of(self.reader, self.weights, batch, compress)
        if self.step % FULL_EVERY == 0:
            full, in_full = train_base.loss_of(self.reader, self.weights.decoder, batch)
            self.full = [*self.full, in_full][-WINDOW:]
            loss = loss + full
        if pair.rank() == 0 and self.step % (20 * FULL_EVERY) == 0:
            log.info("in full  right %.3f", sum(self.full) / len(self.full))
        return loss, right

    def export(self, out: Path) -> None:
        """Write the model, and the adapter in ``sac-<ratio>x`` beside it."""
        copy = LlamaForCausalLM(self.adapter.backbone.config).to(torch.bfloat16)
        copy.load_state_dict(self.weights.learning, strict=False)
        copy.tie_weights()
        copy.config.dtype = torch.bfloat16
        copy.generation_config.update(do_sample=False)
        copy.save_pretrained(out)
        save_tokenizer(out)
        ratio = self.adapter.config.compress.ratio
        folder = out / f"sac-{ratio}x"
        self.adapter.save_pretrained(folder)
        # once more, as the adapter of the decoder that was just written
        train_sac.new_adapter(out, start=folder, ratio=ratio).save_pretrained(folder)


def main(args: argparse.Namespace) -> None:
    """Train, then write both."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(BothRun(args), args.out, minutes=args.minutes, steps=args.steps)


if __name__ == "__main__":
    parser = arguments(__doc__, minutes=50.0, lr=1e-3)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ratio", type=int, default=5)
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
