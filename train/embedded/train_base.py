"""Train the embedded decoder from nothing: answers about fictional documents, read in full.

    python train/embedded/train_base.py --out sac_rag/embedded/nano --work runs/base

Two CPU cores with AMX (bfloat16), about an hour. Expected at the end: the last level of the
curriculum and an exact match above 0.9 on held-out documents (``evaluate.py``). Stops and goes on
from ``--work``; ``--steps N --tiny`` runs the same road in seconds for a test.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import threading
import time
from pathlib import Path

import pair
import torch
from atlas import World
from build_tokenizer import save as save_tokenizer
from curriculum import LEVELS, Batch, Coder, make_batch
from reader import Reader, grade
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

log = logging.getLogger("train_base")
PASS = 0.78
"""Questions answered without a mistake before the next level begins."""
WINDOW = 60
"""Batches over which that is measured."""


def new_model(tokenizer: PreTrainedTokenizerBase, *, tiny: bool) -> LlamaForCausalLM:
    """Build the untrained decoder."""
    width, layers, inner = (64, 2, 96) if tiny else (256, 4, 640)
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


def loss_of(reader: Reader, weights: dict[str, Tensor], batch: Batch) -> tuple[Tensor, float]:
    """Read the contexts in full and answer."""
    cache = reader.read(weights, batch.context)
    seen = torch.arange(batch.context.shape[1])[None] < batch.lengths[:, None]
    hidden = reader.ask(weights, cache, seen, batch.questions, batch.lengths + batch.gap)
    return grade(hidden, batch.labels, batch.hints, weights)


class Run:
    """A training run that can be stopped and taken up again."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.work: Path = args.work
        self.work.mkdir(parents=True, exist_ok=True)
        own = self.work / f"tokenizer-{pair.rank()}"  # no process reads what another is writing
        save_tokenizer(own)
        self.tokenizer = AutoTokenizer.from_pretrained(own)
        self.coder, self.world = Coder(self.tokenizer), World(f"train-{args.seed}-{pair.rank()}")
        torch.manual_seed(args.seed)
        self.model = new_model(self.tokenizer, tiny=args.tiny)
        self.reader = Reader(self.model.config, compiled=not args.tiny)
        matrices = [p for n, p in self.model.named_parameters() if p.dim() == 2 and "layers" in n]
        others = [p for n, p in self.model.named_parameters() if p.dim() != 2 or "layers" not in n]
        self.optimizers = [
            torch.optim.Muon(
                matrices, lr=args.lr, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        self.lr: float = args.lr
        self.step, self.level, self.elapsed_s, self.tokens = 0, 0, 0.0, 0
        self.recent: list[float] = []

    def save(self) -> None:
        """Write everything needed to go on, and the weights as transformers loads them."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "level": self.level,
            "elapsed_s": self.elapsed_s,
            "tokens": self.tokens,
            "recent": self.recent,
        }
        torch.save(state, self.work / "state.tmp")
        (self.work / "state.tmp").rename(self.work / "state.pt")
        export(self.model, self.tokenizer, self.work / "model")

    def load(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        if not (self.work / "state.pt").exists():
            return
        state = torch.load(self.work / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name in ("step", "level", "elapsed_s", "tokens", "recent"):
            setattr(self, name, state[name])
        # other worlds than before the stop; which ones does not matter, they are all new
        self.world = World(f"train-{self.step}-{random.randrange(10**9)}")

    def train_step(self, done: float, stopping: bool) -> tuple[float, bool]:
        """Take one step.

        Args:
            done: Share of the time that is over.
            stopping: Whether this process was told to stop.

        Returns:
            The loss, and whether any process was told to stop.
        """
        begun_s = time.time()
        scale = min(1.0, (self.step + 1) / 100) * min(1.0, max(0.03, (1 - done) / 0.63))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * scale
        level = LEVELS[self.level]
        # all processes take the same kind of batch, so that none waits for a longer one
        kind, gaps = random.Random(self.step).random(), 0.3 if self.level > 1 else 0.0
        batch = make_batch(self.world, self.coder, level, gaps, kind=kind, share=pair.count())
        weights = {n: p.to(torch.bfloat16) for n, p in self.model.named_parameters()}
        loss, right = loss_of(self.reader, weights, batch)
        loss.backward()
        parameters = list(self.model.parameters())
        right, step_s, stopped = pair.share(
            parameters, [right, time.time() - begun_s, float(stopping)]
        )
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.elapsed_s += step_s
        self.tokens += (batch.context.numel() + batch.questions.numel()) * pair.count()
        self.recent = [*self.recent, right][-WINDOW:]
        if (
            len(self.recent) == WINDOW
            and sum(self.recent) / WINDOW > PASS
            and self.level < len(LEVELS) - 1
        ):
            self.level, self.recent = self.level + 1, []
            log.info("step %d: level %d begins", self.step, self.level)
        return loss.item(), stopped > 0


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write the model in bfloat16, with its tokenizer, as transformers loads it."""
    copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.config.dtype = torch.bfloat16
    copy.generation_config.update(do_sample=False)
    copy.save_pretrained(out)
    save_tokenizer(out)


def main(args: argparse.Namespace) -> None:
    """Train until the time or the steps are over, then write the model to ``--out``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run = Run(args)
    run.load()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    last_s = saved_s = time.time()
    stopped, first = False, pair.rank() == 0
    while run.elapsed_s < args.minutes * 60 and run.step < args.steps and not stopped:
        done = run.elapsed_s / (args.minutes * 60)
        loss, stopped = run.train_step(done, stop.is_set())
        now = time.time()
        if first and now - last_s > 10:
            mean = sum(run.recent) / max(1, len(run.recent))
            log.info(
                "step %d  level %d  loss %.3f  right %.3f  %.1f M tokens  %.0f s",
                run.step,
                run.level,
                loss,
                mean,
                run.tokens / 1e6,
                run.elapsed_s,
            )
            last_s = now
        if first and now - saved_s > 120:
            run.save()
            saved_s = time.time()
    if first:
        run.save()
        export(run.model, run.tokenizer, args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    pair.launch(main, arguments, processes=arguments.processes)
