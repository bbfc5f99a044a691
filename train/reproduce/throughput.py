"""Training throughput: a batch in passes of like length, in one padded pass, and one by one.

    python train/reproduce/throughput.py --json throughput.json

All roads do forward and backward of the same samples (a context, and as much that follows it) in
one process, one after the other in every round. The table gives tokens per second that encoder and
decoder read, padding not counted: median, slowest and fastest round; on a CPU by the time of the
process, on a GPU by the clock. The gradients of all are compared first, which warms them up. Data
and the weights of the larger shape are random: speed is all that is measured.

One CPU core does the same arithmetic on all roads, and one pass pays for its padding; a device
that one chunk leaves idle is what batches are for. ``--shortest`` as ``--longest`` takes the
padding away.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from peft import LoraConfig
from transformers import AutoModelForCausalLM, LlamaConfig

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import cat
from sac_rag.chunking import split_chunks
from sac_rag.config import CompressConfig
from sac_rag.engine.loading import EMBEDDED, load_base
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import compress_samples, continuation
from sac_rag.train.passes import Passes, like_lengths, together
from sac_rag.train.samples import Sample

Road = Callable[[TrainingModule, Sequence[Sample]], None]

LARGER = LlamaConfig(
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=2,
    vocab_size=8192,
    max_position_embeddings=4096,
)


def looped(module: TrainingModule, samples: Sequence[Sample]) -> None:
    """One chunk after another, then one sample after another."""
    method = module.method
    for sample in samples:
        [document] = sample.documents
        chunks = split_chunks(list(document), chunk_size=method.config.chunk_size)
        anchors = cat([method.compress_chunk(chunk) for chunk in chunks])
        (continuation(method, [sample], [anchors]).sum() / len(samples)).backward()


def padded(module: TrainingModule, samples: Sequence[Sample]) -> None:
    """All chunks in one encoder pass, all samples in one decoder pass, padded and masked."""
    anchors = compress_samples(module.method, samples, passes=together)
    continuation(module.method, samples, anchors, passes=together).mean().backward()


def grouped(module: TrainingModule, samples: Sequence[Sample]) -> None:
    """Chunks, then samples, in passes of like length: the road that training takes."""
    module(samples)["loss"].backward()


ROADS: dict[str, Road] = {
    "loop at batch 1": looped,
    "one padded pass": padded,
    "passes of like length": grouped,
}


def models(device: torch.device, dtype: str) -> dict[str, torch.nn.Module]:
    """Give the bases by the name that the table shows."""
    torch.manual_seed(0)
    embedded, _ = load_base(EMBEDDED, dtype=dtype, device=str(device))
    larger = AutoModelForCausalLM.from_config(LARGER, dtype=getattr(torch, dtype))
    made = {"embedded": embedded, "random Llama": larger.to(device)}
    return {
        f"{name} ({sum(one.numel() for one in model.parameters()) / 1e6:.1f} M)": model
        for name, model in made.items()
    }


def trained(model: torch.nn.Module) -> TrainingModule:
    """Put a fresh adapter on a base."""
    lora = LoraConfig(
        r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    adapter = Adapter.create(model, compress=CompressConfig(ratio=5), lora=lora)  # type: ignore[arg-type]
    make_trainable(adapter)
    passes = like_lengths(adapter.backbone)
    return TrainingModule(adapter, weights={"continuation": 1.0}, passes=passes).train()


def drawn(batch: int, shortest: int, longest: int, vocab: int) -> list[Sample]:
    """Draw samples whose lengths go evenly from the shortest to the longest."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for index in range(batch):
        length = longest - (longest - shortest) * index // max(1, batch - 1)
        ids = torch.randint(3, vocab, (length,), generator=draw).tolist()
        made.append(Sample(documents=(ids[: length // 2],), target=ids[length // 2 :]))
    return made


def difference(module: TrainingModule, samples: Sequence[Sample]) -> float:
    """Give the largest difference of a road's gradients from the loop's, by the largest of them."""
    found = []
    for road in ROADS.values():
        module.zero_grad()
        road(module, samples)
        grads = [one.grad.flatten() for one in module.parameters() if one.grad is not None]
        found.append(torch.cat(grads).float())
    module.zero_grad()
    loop, *others = found
    return max(((loop - one).abs().max() / loop.abs().max()).item() for one in others)


def padding(samples: Sequence[Sample], chunk_size: int, passes: Passes) -> float:
    """Give the share of what encoder and decoder read that is padding."""
    chunks = [
        len(chunk)
        for sample in samples
        for document in sample.documents
        for chunk in split_chunks(list(document), chunk_size=chunk_size)
    ]
    targets = [len(sample.target) for sample in samples]
    read = sum(
        len(rows) * max(lengths[row] for row in rows)
        for lengths in (chunks, targets)
        for rows in passes(lengths)
    )
    return 1 - (sum(chunks) + sum(targets)) / read


def seconds(road: Road, module: TrainingModule, samples: Sequence[Sample]) -> float:
    """Time one forward and backward."""
    on_gpu = module.adapter.backbone.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
    begun = clock()
    road(module, samples)
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - begun


def measure(module: TrainingModule, samples: Sequence[Sample], rounds: int) -> dict[str, list]:
    """Give tokens per second of every round by road; ``difference`` was the warm-up."""
    num_tokens = sum(sample.num_tokens for sample in samples)
    rates: dict[str, list] = {name: [] for name in ROADS}
    for _ in range(rounds):
        for name, road in ROADS.items():
            rates[name].append(num_tokens / seconds(road, module, samples))
    return rates


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="samples of a batch")
    parser.add_argument("--shortest", type=int, default=80, help="tokens of the shortest sample")
    parser.add_argument("--longest", type=int, default=320, help="tokens of the longest sample")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are timed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--json", type=Path, help="where the numbers are written")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    rows = []
    for name, model in models(device, asked.dtype).items():
        module = trained(model)
        vocab = int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
        samples = drawn(asked.batch, asked.shortest, asked.longest, vocab)
        apart = difference(module, samples)
        rates = measure(module, samples, asked.rounds)
        chunk_size = module.method.config.chunk_size
        shares = {
            "loop at batch 1": 0.0,
            "one padded pass": padding(samples, chunk_size, together),
            "passes of like length": padding(samples, chunk_size, module.passes),
        }
        base = statistics.median(rates["loop at batch 1"])
        for road, found in rates.items():
            rows.append(
                {
                    "model": name,
                    "road": road,
                    "tokens_per_second": statistics.median(found),
                    "slowest": min(found),
                    "fastest": max(found),
                    "times_the_loop": statistics.median(found) / base,
                    "gradients_apart": apart,
                    "padding": shares[road],
                }
            )
    show(rows)
    if asked.json:
        settings = {key: value for key, value in vars(asked).items() if key != "json"}
        where = {
            "processor": platform.machine(),
            "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "date": datetime.now(UTC).date().isoformat(),
        }
        text = json.dumps({"settings": settings, "machine": where, "rows": rows}, indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


def show(rows: Sequence[dict]) -> None:
    """Print the table."""
    print("| model | road | padding | tokens/s | slowest to fastest | times the loop |")
    print("|---|---|---:|---:|---:|---:|")
    for row in rows:
        spread = f"{row['slowest']:,.0f} to {row['fastest']:,.0f}"
        print(
            f"| {row['model']} | {row['road']} | {row['padding']:.0%} "
            f"| {row['tokens_per_second']:,.0f} | {spread} | {row['times_the_loop']:.2f} |"
        )
    apart = max(row["gradients_apart"] for row in rows)
    print(f"\nGradients of the roads differ by at most {apart:.1e} of the largest.")


if __name__ == "__main__":
    main()
