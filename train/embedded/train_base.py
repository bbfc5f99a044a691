"""Train the embedded decoder from nothing: answers about fictional documents, read in full.

    python train/embedded/train_base.py --out sac_rag/embedded/nano --work runs/base

Two CPU cores with AMX (bfloat16). How the decoder of ``full_text`` was made, in two sittings, is in
its card; README.md has the command. Stops and goes on from ``--work``; ``--steps N --tiny`` is for
a test.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pair
import torch
from build_tokenizer import save as save_tokenizer
from curriculum import Batch, Coder
from gaze import FINDING, gaze_loss
from loop import Climb, arguments, train
from reader import Reader, fast_dtype, grade
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

GUIDANCE = 1.0
"""Weight of the three losses of ``gaze`` on the levels that are guided."""
PASS = 0.78
"""Questions answered without a mistake before the next level begins."""


def new_model(tokenizer: PreTrainedTokenizerBase, *, tiny: bool) -> LlamaForCausalLM:
    """Build the untrained decoder."""
    width, layers, inner = (64, 3, 96) if tiny else (256, 4, 640)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // 64 * (1 if not tiny else 2),
        num_key_value_heads=2,
        head_dim=32 if tiny else 64,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.02,
    )
    return LlamaForCausalLM(config)


def match_alike(model: LlamaForCausalLM) -> None:
    """Let the head that is to find names begin as one that looks for what is like itself.

    Its queries and keys start from one random projection; two of them would first have to agree.
    """
    attention = model.model.layers[FINDING].self_attn
    head_dim = attention.head_dim
    with torch.no_grad():
        drawn = torch.randn(head_dim, model.config.hidden_size) * 0.05
        attention.q_proj.weight[:head_dim].copy_(drawn)
        attention.k_proj.weight[:head_dim].copy_(drawn)


def loss_of(reader: Reader, weights: dict[str, Tensor], batch: Batch) -> tuple[Tensor, float]:
    """Read the contexts in full and answer."""
    reading: list[Tensor] = []
    asking: list[Tensor] = []
    cache = reader.read(weights, batch.context, reading)
    seen = torch.arange(batch.context.shape[1])[None] < batch.lengths[:, None]
    start = batch.lengths + batch.gap
    hidden = reader.ask(weights, cache, seen, batch.questions, start, entering=asking)
    loss, right = grade(hidden, batch.labels, batch.hints, weights)
    if batch.gaze is not None:
        loss = loss + GUIDANCE * gaze_loss(
            weights, batch.gaze, (reading, asking), cache, seen, start
        )
    return loss, right


class BaseRun(Climb):
    """The decoder's training."""

    def __init__(self, args: argparse.Namespace) -> None:
        own = args.work / f"tokenizer-{pair.rank()}"  # no process reads what another is writing
        save_tokenizer(own)
        self.tokenizer = AutoTokenizer.from_pretrained(own)
        torch.manual_seed(args.seed)
        self.model = new_model(self.tokenizer, tiny=args.tiny)
        if args.start:
            before = LlamaForCausalLM.from_pretrained(args.start, dtype=torch.float32)
            self.model.load_state_dict(before.state_dict())
        if not args.tiny:
            match_alike(self.model)
        self.dtype = fast_dtype()
        self.reader = Reader(self.model.config, compiled=not args.tiny)
        named = list(self.model.named_parameters())
        inner = [name for name, p in named if p.dim() == 2 and "layers" in name]
        super().__init__(
            work=args.work,
            coder=Coder(self.tokenizer),
            matrices=[p for name, p in named if name in inner],
            others=[p for name, p in named if name not in inner],
            lr=args.lr,
            decay=0.6,
            level=0,
            mark=PASS,
        )

    def loss_of(self, batch: Batch) -> tuple[Tensor, float]:
        """Read the contexts in full and answer."""
        weights = {n: p.to(self.dtype) for n, p in self.model.named_parameters()}
        return loss_of(self.reader, weights, batch)

    def export(self, out: Path) -> None:
        """Write the model in bfloat16, with its tokenizer, as transformers loads it."""
        copy = LlamaForCausalLM(self.model.config).to(torch.bfloat16)
        copy.load_state_dict(self.model.state_dict())
        copy.config.dtype = torch.bfloat16
        copy.generation_config.update(do_sample=False)
        copy.save_pretrained(out)
        save_tokenizer(out)


def main(args: argparse.Namespace) -> None:
    """Train, then write the model to ``--out``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(BaseRun(args), args.out, minutes=args.minutes, steps=args.steps)


if __name__ == "__main__":
    parser = arguments(__doc__, minutes=76.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
