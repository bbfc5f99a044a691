"""Train a SAC adapter for SmolLM2-135M-Instruct on real questions, on CPU.

    pip install gguf && python tests/real/fetch.py runs/smollm2
    python train/smollm2/train_adapter.py --base runs/smollm2 --minutes 60 \\
        --data '../shared/data/qa/*.train.jsonl.xz' --work runs/smol --out runs/smol/sac-5x

The decoder stays frozen. This is the second stage of the paper alone (questions, no continuation),
on the fast layers of ``train/embedded``: with AMX they compute bfloat16, and several questions
share the encoding of their text. It goes on from ``--work``; SIGTERM stops it after a step. **Not
trained to an end yet**: tests hold its loss to the library's, no adapter of it has been measured.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

sys.path.append(str(Path(__file__).resolve().parents[1] / "embedded"))

import pair
from chunks import arrange, lay_out
from loop import optimizers
from qa_batches import IGNORE, Batch, batches, read_texts
from reader import Reader, fast_dtype, grade
from train_sac import LINEARS, SCALE, Weights

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig
from sac_rag.tokens import Tokens

log = logging.getLogger("train")
RANK = 16
SAVE_S, TELL_STEPS = 180, 5


def new_adapter(base: Path, *, ratio: int) -> Adapter:
    """Put a fresh adapter on the base, in float32."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = model.config
    if not config.tie_word_embeddings or abs(config.rms_norm_eps - 1e-5) > 1e-8:
        raise SystemExit(
            f"{base} has tie_word_embeddings={config.tie_word_embeddings} and rms_norm_eps="
            f"{config.rms_norm_eps}; the fast layers are for True and 1e-5: train it by "
            "`python -m sac_rag.train`"
        )
    lora = LoraConfig(
        r=RANK, lora_alpha=int(RANK * SCALE), target_modules=list(LINEARS), task_type="CAUSAL_LM"
    )
    name = "SmolLM2-135M-Instruct"
    adapter = Adapter.create(
        model, compress=CompressConfig(ratio=ratio, chunk_size=510), lora=lora, base_model=name
    )
    adapter.backbone.model.peft_config["default"].base_model_name_or_path = name
    return adapter


def loss_of(reader: Reader, weights: Weights, batch: Batch, ratio: int) -> tuple[Tensor, float]:
    """Encode the texts to anchors and answer from them; give the share of right answers too."""
    chunks = lay_out(batch.documents, ratio=ratio, chunk_size=510, multiple=(1, 64, 13))
    per_chunk = reader.encode(weights.encoder(), chunks, weights.method.anchor_embeddings)
    spare = torch.zeros_like(batch.questions[:, :, :1])
    questions = torch.cat((spare, batch.questions), dim=2)
    labels = torch.cat((torch.full_like(spare, IGNORE), batch.labels), dim=2)
    hidden = reader.ask(
        weights.decoder,
        arrange(per_chunk, chunks),
        chunks.seen,
        questions,
        chunks.totals,
        weights.method.task_embedding(),
    )
    loss, right = grade(hidden, labels, torch.full_like(labels, IGNORE), weights.decoder)
    # places without a question have no wrong token
    asked = (labels != IGNORE).any(-1).float().mean().item()
    return loss, 1 - (1 - right) / asked


class State:
    """What is learned, and where the run is.

    Args:
        adapter: The adapter.
        matrices: Its LoRA matrices.
        lr: Learning rate before it decays.
    """

    def __init__(self, adapter: Adapter, matrices: list[nn.Parameter], *, lr: float) -> None:
        method: Any = adapter.method
        embeddings = [method.anchor_embeddings, method.task_embeddings]
        self.adapter, self.lr = adapter, lr
        self.parameters = [*matrices, *embeddings]
        self.optimizers = optimizers(matrices, embeddings, lr=lr)
        self.step, self.elapsed_s = 0, 0.0

    def save(self, work: Path) -> None:
        """Write everything needed to go on."""
        state: dict[str, Any] = {
            "trained": [p.detach() for p in self.parameters],
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counts": [self.step, self.elapsed_s],
        }
        torch.save(state, work / "state.tmp")
        (work / "state.tmp").rename(work / "state.pt")

    def load(self, work: Path) -> None:
        """Go on from the last checkpoint, if there is one."""
        if not (work / "state.pt").exists():
            return
        state = torch.load(work / "state.pt", weights_only=True)
        for parameter, saved in zip(self.parameters, state["trained"], strict=True):
            parameter.data.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s = state["counts"]

    def update(self, *, done: float) -> None:
        """Take a step of both optimisers.

        Args:
            done: Share of the time that is over: the rate falls over the last 0.3 of it.
        """
        scale = min(1.0, (self.step + 1) / 30) * min(1.0, max(0.03, (1 - done) / 0.3))
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1


def main(args: argparse.Namespace) -> None:
    """Train, then write the adapter."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    adapter = new_adapter(args.base, ratio=args.ratio)
    weights = Weights(adapter, dtype=fast_dtype())
    state = State(adapter, weights.matrices, lr=args.lr)
    state.load(args.work)
    reader = Reader(adapter.backbone.config, compiled=not args.tiny)
    texts = read_texts(args.data, Tokens.from_pretrained(args.base))
    # another stop, another order; every process its own
    order = batches(texts, seed=args.seed + 1000 * state.step + pair.rank())
    if pair.rank() == 0:
        count = sum(len(text.asked) for text in texts)
        log.info("%d texts, %d questions; step %d", len(texts), count, state.step)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    recent: list[tuple[float, float]] = []
    told_s = saved_s = time.time()
    for batch in itertools.islice(order, max(0, args.steps - state.step)):
        loss, right = loss_of(reader, weights, batch, args.ratio)
        loss.backward()
        now_s = time.time()
        numbers = [loss.item(), right, now_s - told_s, float(stop.is_set())]
        told_s = now_s
        mean_loss, right, step_s, stopped = pair.share(state.parameters, numbers)
        state.update(done=state.elapsed_s / (args.minutes * 60))
        state.elapsed_s += step_s
        recent = [*recent, (mean_loss, right)][-TELL_STEPS:]
        if pair.rank() == 0 and state.step % TELL_STEPS == 0:
            means = [sum(column) / len(recent) for column in zip(*recent, strict=True)]
            log.info("step %d  loss %.3f  right %.3f  %.0f s", state.step, *means, state.elapsed_s)
        if pair.rank() == 0 and now_s - saved_s > SAVE_S:
            state.save(args.work)
            saved_s = now_s
        if stopped or state.elapsed_s >= args.minutes * 60:
            break
    if pair.rank() == 0:
        state.save(args.work)
        adapter.save_pretrained(args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the adapter")
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="without compilation, for a test")
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
