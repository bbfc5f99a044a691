"""Train the SAC adapter of the embedded model: the frozen decoder answers from one anchor per
five tokens.

    python train/embedded/train_sac.py --base sac_rag/embedded/nano --work runs/sac --minutes 45

Two CPU cores with AMX (bfloat16), under an hour. Expected at the end: at least 95 % of the exact
match that the same decoder reaches with the full text (``evaluate.py``). Stops and goes on from
``--work``; the adapter is written to ``<base>/sac-5x`` as ``Adapter.save_pretrained`` writes it.
``--steps N --tiny`` is for a test.

The encoder runs on the fast layers of ``reader.py`` with the LoRA merged into its weights; a test
holds them to the library's ``compress_chunks``.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import threading
import time
from pathlib import Path

import torch
from atlas import World
from chunks import arrange, lay_out
from curriculum import IGNORE, LEVELS, Batch, Coder, make_batch
from peft import LoraConfig
from reader import Reader, grade
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig

log = logging.getLogger("train_sac")
RANK = 32
SCALE = 2.0
"""LoRA alpha over rank."""
PASS, WINDOW = 0.90, 60
"""As in ``train_base``; the last level is where the time goes."""
FIRST_LEVEL = 1
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def new_adapter(base: Path, *, ratio: int = 5, chunk_size: int = 510) -> Adapter:
    """Put a fresh adapter on the base, in float32."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(
        r=RANK, lora_alpha=int(RANK * SCALE), target_modules=list(LINEARS), task_type="CAUSAL_LM"
    )
    compress = CompressConfig(ratio=ratio, chunk_size=chunk_size)
    adapter = Adapter.create(model, compress=compress, lora=lora, base_model="embedded")
    # not the folder it happens to be trained in
    adapter.backbone.model.peft_config["default"].base_model_name_or_path = "embedded"
    return adapter


class Weights:
    """The adapter's tensors by the names of the fast layers, computed with in ``dtype``."""

    def __init__(self, adapter: Adapter, *, dtype: torch.dtype = torch.bfloat16) -> None:
        self._dtype = dtype
        base = adapter.backbone.causal_lm
        self.decoder: dict[str, Tensor] = {}
        self._down: dict[str, nn.Parameter] = {}
        self._up: dict[str, nn.Parameter] = {}
        for name, tensor in base.named_parameters():
            if ".lora_A." in name:
                self._down[name.replace(".lora_A.default", "")] = tensor  # type: ignore[assignment]
            elif ".lora_B." in name:
                self._up[name.replace(".lora_B.default", "")] = tensor  # type: ignore[assignment]
            else:
                plain = name.replace(".base_layer", "")
                self.decoder[plain] = tensor.detach().to(dtype)
        self._base = {n: self.decoder[n].float() for n in self._down}
        last = f"layers.{base.config.num_hidden_layers - 1}."
        unread = ("q_proj", "o_proj", "mlp")
        names = [n for n in self._down if last not in n or not any(u in n for u in unread)]
        self.matrices = [p for n in names for p in (self._down[n], self._up[n])]
        self.method = adapter.method

    def encoder(self) -> dict[str, Tensor]:
        """Give the weights with the LoRA merged in, differentiable."""
        merged = {
            n: (self._base[n] + SCALE * (self._up[n] @ self._down[n])).to(self._dtype)
            for n in self._down
        }
        return {**self.decoder, **merged}


def loss_of(
    reader: Reader, weights: Weights, batch: Batch, compress: CompressConfig
) -> tuple[Tensor, float]:
    """Encode the documents to anchors and answer from them."""
    # a context alone in its batch holds several documents, or one of several chunks
    multiple = (8, 128, 448) if len(batch.documents) == 1 else (4, 128, 64)
    chunks = lay_out(
        batch.documents, ratio=compress.ratio, chunk_size=compress.chunk_size, multiple=multiple
    )
    per_chunk = reader.encode(weights.encoder(), chunks, weights.method.anchor_embeddings)
    cache = arrange(per_chunk, chunks)
    # the task token takes a place of its own before each question and predicts nothing
    spare = torch.zeros_like(batch.questions[:, :, :1])
    questions = torch.cat((spare, batch.questions), dim=2)
    labels, hints = (
        torch.cat((torch.full_like(spare, IGNORE), x), dim=2) for x in (batch.labels, batch.hints)
    )
    hidden = reader.ask(
        weights.decoder,
        cache,
        chunks.seen,
        questions,
        chunks.totals,
        weights.method.task_embedding(),
    )
    return grade(hidden, labels, hints, weights.decoder)


class Run:
    """A training run that can be stopped and taken up again."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        args.work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(args.seed)
        self.adapter = new_adapter(args.base, ratio=args.ratio)
        self.weights = Weights(self.adapter)
        self.coder = Coder(AutoTokenizer.from_pretrained(args.base))
        self.world = World(f"sac-{args.seed}")
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        method = self.adapter.method
        self.embeddings = [method.anchor_embeddings, method.task_embeddings]
        self.optimizers = [
            torch.optim.Muon(
                self.weights.matrices, lr=args.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(self.embeddings, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.step, self.level, self.elapsed_s = 0, FIRST_LEVEL, 0.0
        self.recent: list[float] = []

    def save(self) -> None:
        """Write everything needed to go on, and the adapter as the library loads it."""
        state = {
            "trained": [p.detach() for p in (*self.weights.matrices, *self.embeddings)],
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "level": self.level,
            "elapsed_s": self.elapsed_s,
            "recent": self.recent,
        }
        torch.save(state, self.args.work / "state.tmp")
        (self.args.work / "state.tmp").rename(self.args.work / "state.pt")
        self.adapter.save_pretrained(self.args.work / "adapter")

    def load(self, path: Path, *, optimizers: bool = True) -> None:
        """Go on from a checkpoint, if there is one."""
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        for parameter, saved in zip(
            (*self.weights.matrices, *self.embeddings), state["trained"], strict=True
        ):
            parameter.data.copy_(saved)
        self.level = state["level"]
        if optimizers:
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.elapsed_s, self.recent = (
                state["step"],
                state["elapsed_s"],
                state["recent"],
            )
        self.world = World(f"sac-{self.step}-{random.randrange(10**9)}")

    def train_step(self, done: float) -> float:
        """Take one step; ``done`` is the share of the time that is over."""
        scale = min(1.0, (self.step + 1) / 50) * min(1.0, max(0.03, (1 - done) / 0.4))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.args.lr * scale
        batch = make_batch(self.world, self.coder, LEVELS[self.level], 0.2)
        loss, right = loss_of(self.reader, self.weights, batch, self.adapter.config.compress)
        loss.backward()
        nn.utils.clip_grad_norm_((*self.weights.matrices, *self.embeddings), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.recent = [*self.recent, right][-WINDOW:]
        passed = len(self.recent) == WINDOW and sum(self.recent) / WINDOW > PASS
        if passed and self.level < len(LEVELS) - 1:
            self.level, self.recent = self.level + 1, []
            log.info("step %d: level %d begins", self.step, self.level)
        return loss.item()


def main(args: argparse.Namespace) -> None:
    """Train until the time or the steps are over, then write the adapter beside the base."""
    run = Run(args)
    if args.start:
        run.load(args.start, optimizers=False)
    run.load(args.work / "state.pt")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    begun_s = last_s = saved_s = time.time()
    before_s = run.elapsed_s
    while run.elapsed_s < args.minutes * 60 and run.step < args.steps and not stop.is_set():
        loss = run.train_step(run.elapsed_s / (args.minutes * 60))
        now = time.time()
        run.elapsed_s = before_s + now - begun_s
        if now - last_s > 10:
            mean = sum(run.recent) / max(1, len(run.recent))
            log.info(
                "step %d  level %d  loss %.3f  right %.3f  %.0f s",
                run.step,
                run.level,
                loss,
                mean,
                run.elapsed_s,
            )
            last_s = now
        if now - saved_s > 120:
            run.save()
            saved_s = time.time()
    run.save()
    run.adapter.save_pretrained(args.base / f"sac-{args.ratio}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="state.pt of another run to begin from")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiny", action="store_true")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_flush_denormal(True)
    torch.set_num_threads(2)
    main(parser.parse_args())
