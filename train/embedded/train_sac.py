"""Train the SAC adapter of the embedded model: the frozen decoder answers from one anchor per
five tokens.

    python train/embedded/train_sac.py --base sac_rag/embedded/nano --work runs/sac --minutes 45

Two CPU cores with AMX (bfloat16). The shipped adapter went on from that of ``train_both.py``
(``--start``) for the last 15 minutes; ``evaluate.py`` measures it. It goes on from ``--work``; the
adapter is written to ``<base>/sac-5x`` as ``Adapter.save_pretrained`` writes it. ``--steps N
--tiny`` is for a test.

The encoder runs on the fast layers of ``reader.py`` with the LoRA merged into its weights; a test
holds them to the library's ``compress_chunks``.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pair
import torch
from chunks import arrange, lay_out
from curriculum import IGNORE, Batch, Coder
from loop import Climb, arguments, train
from peft import LoraConfig, set_peft_model_state_dict
from reader import Reader, fast_dtype, grade
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig
from sac_rag.layout import midpoint_indices, slots_of

RANK = 32
SCALE = 2.0
"""LoRA alpha over rank."""
FIRST_LEVEL, PASS = 7, 0.7
"""Where the curriculum begins, and right answers at which it goes on; as in ``train_base``."""
Halves = tuple[nn.Parameter, nn.Parameter]
"""Of a LoRA: (rank, in) and (out, rank)."""
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def new_adapter(
    base: Path,
    *,
    start: Path | None = None,
    ratio: int = 5,
    chunk_size: int = 510,
    rank: int = RANK,
    name: str = "embedded",
) -> Adapter:
    """Put an adapter on the base, in float32: fresh, or as trained on a forerunner of the base."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    compress = CompressConfig(ratio=ratio, chunk_size=chunk_size)
    adapter = Adapter.create(model, compress=compress, lora=new_lora(rank), base_model=name)
    # not the folder it happens to be trained in
    adapter.backbone.model.peft_config["default"].base_model_name_or_path = name
    if start is not None:
        learned = load_file(start / "adapter_model.safetensors")
        set_peft_model_state_dict(adapter.backbone.model, learned)
        adapter.method.load_state_dict(load_file(start / "sac_embeddings.safetensors"))
    return adapter


def new_lora(rank: int) -> LoraConfig:
    """Configure a LoRA of all linear maps."""
    return LoraConfig(
        r=rank, lora_alpha=int(rank * SCALE), target_modules=list(LINEARS), task_type="CAUSAL_LM"
    )


def lora_pairs(model: nn.Module) -> dict[str, Halves]:
    """Give a LoRA's halves by the names of the weights they change."""
    named = dict(model.named_parameters())
    down, up = ".lora_A.default", ".lora_B.default"
    return {
        name.replace(down, ""): (parameter, named[name.replace(down, up)])
        for name, parameter in named.items()
        if down in name
    }


def merged(weights: dict[str, Tensor], pairs: dict[str, Halves]) -> dict[str, Tensor]:
    """Give weights with a LoRA added, differentiable, in their own precision."""
    changed = {}
    for name, (down, up) in pairs.items():
        weight = weights[name]
        # one pass over a large model's weights: copies of them cost more than the product
        changed[name] = torch.addmm(weight, (SCALE * up).to(weight.dtype), down.to(weight.dtype))
    return {**weights, **changed}


class Weights:
    """The adapter's tensors by the names of the fast layers, computed with in ``dtype``."""

    def __init__(self, adapter: Adapter, *, dtype: torch.dtype) -> None:
        self._dtype = dtype
        base = adapter.backbone.causal_lm
        self._pairs = lora_pairs(base)
        self.decoder: dict[str, Tensor] = {
            name.replace(".base_layer", ""): tensor.detach().to(dtype)
            for name, tensor in base.named_parameters()
            if ".lora_" not in name
        }
        last = f"layers.{base.config.num_hidden_layers - 1}."
        unread = ("q_proj", "o_proj", "mlp")
        names = [n for n in self._pairs if last not in n or not any(u in n for u in unread)]
        self.matrices = [half for n in names for half in self._pairs[n]]
        self.method = adapter.method

    def encoder(self) -> dict[str, Tensor]:
        """Give the weights with the LoRA merged in, differentiable."""
        return merged(self.decoder, self._pairs)

    def marks(self, ratio: int) -> Tensor:
        """Give the embeddings of a chunk's anchors, one in ``ratio`` tokens, by place, (A, D).

        At the adapter's own ratio every slot has its own, at a smaller one neighbours share one.
        """
        config = self.method.config
        places_A = midpoint_indices(config.chunk_size, ratio)
        return self.method.anchor_embeddings[slots_of(places_A, config.ratio)]


def loss_of(
    reader: Reader, weights: Weights, batch: Batch, compress: CompressConfig
) -> tuple[Tensor, float]:
    """Encode the documents to anchors and answer from them."""
    # a context alone in its batch holds several documents, or one of several chunks
    multiple = (8, 128, 448) if len(batch.documents) == 1 else (4, 128, 64)
    chunks = lay_out(
        batch.documents, ratio=compress.ratio, chunk_size=compress.chunk_size, multiple=multiple
    )
    per_chunk = reader.encode(weights.encoder(), chunks, weights.marks(compress.ratio))
    cache = arrange(per_chunk, chunks)
    return loss_behind(reader, weights, batch, cache, chunks.seen, chunks.totals)


def loss_behind(
    reader: Reader,
    weights: Weights,
    batch: Batch,
    cache: list[tuple[Tensor, Tensor]],
    seen: Tensor,
    start: Tensor,
) -> tuple[Tensor, float]:
    """Answer a batch's questions behind caches.

    Args:
        reader: Computes.
        weights: Of decoder and adapter.
        batch: Questions and answers.
        cache: Keys and values of each layer, (B, S, G, K).
        seen: True where the cache holds something, (B, S).
        start: Position of the task token, (B,).
    """
    # the task token takes a place of its own before each question and predicts nothing
    spare = torch.zeros_like(batch.questions[:, :, :1])
    questions = torch.cat((spare, batch.questions), dim=2)
    labels, hints = (
        torch.cat((torch.full_like(spare, IGNORE), x), dim=2) for x in (batch.labels, batch.hints)
    )
    task = weights.method.task_embedding()
    hidden = reader.ask(weights.decoder, cache, seen, questions, start, task)
    return grade(hidden, labels, hints, weights.decoder)


class SACRun(Climb):
    """The adapter's training."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.adapter = new_adapter(args.base, start=args.start, ratio=args.ratio)
        self.weights = Weights(self.adapter, dtype=fast_dtype())
        self.reader = Reader(self.adapter.backbone.config, compiled=not args.tiny)
        method = self.adapter.method
        super().__init__(
            work=args.work,
            coder=Coder(AutoTokenizer.from_pretrained(args.base)),
            matrices=self.weights.matrices,
            others=[method.anchor_embeddings, method.task_embeddings],
            lr=args.lr,
            decay=0.8,
            level=FIRST_LEVEL,
            mark=PASS,
        )

    def loss_of(self, batch: Batch) -> tuple[Tensor, float]:
        """Encode the documents to anchors and answer from them."""
        return loss_of(self.reader, self.weights, batch, self.adapter.config.compress)

    def export(self, out: Path) -> None:
        """Write the adapter."""
        self.adapter.save_pretrained(out)


def main(args: argparse.Namespace) -> None:
    """Train, then write the adapter beside the base."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out = args.base / f"sac-{args.ratio}x"
    train(SACRun(args), out, minutes=args.minutes, steps=args.steps)


if __name__ == "__main__":
    parser = arguments(__doc__, minutes=45.0)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--ratio", type=int, default=5)
    given = parser.parse_args()
    pair.launch(main, given, processes=given.processes)
