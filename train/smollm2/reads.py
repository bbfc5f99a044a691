"""Say whether an adapter's anchors are read: the answers' loss behind the right text, and another.

    python train/smollm2/reads.py --base runs/smollm2 --adapter runs/smol/sac-5x \\
        --data '../shared/data/qa/*.dev.jsonl.xz'

An answer that the decoder guesses from the question alone costs the same behind another text's
anchors. Teacher-forced, on the fast layers, at the adapter's ratio and at those of the ladder that
it was trained through: with one anchor a token nothing is compressed, so that row is the most that
this decoder and this LoRA gave by then.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from joined import loss_among
from qa_batches import batches, read_texts
from train_adapter import LADDER, RANK

from sac_rag.tokens import Tokens

from reader import Reader, fast_dtype  # isort: skip  # on the path by qa_batches
from train_sac import Weights, new_adapter  # isort: skip


@torch.inference_mode()
def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Give nats a token, and the share of answers without a wrong token, by ratio and text."""
    torch.set_num_threads(args.threads)
    adapter = new_adapter(args.base, start=args.adapter, ratio=args.ratio, rank=RANK)
    weights = Weights(adapter, dtype=fast_dtype())
    reader = Reader(adapter.backbone.config, compiled=False)
    texts = read_texts(args.data, Tokens.from_pretrained(args.base))
    found: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for batch in itertools.islice(batches(texts, seed=args.seed), args.batches):
        others = [*batch.documents[1:], batch.documents[0]]
        for ratio in sorted({args.ratio, *(few for _, few in LADDER if few < args.ratio)}):
            compress = replace(adapter.config.compress, ratio=ratio)
            for name, documents in (("its text", batch.documents), ("another text", others)):
                loss, right = loss_among(
                    reader, weights, replace(batch, documents=documents), compress
                )
                found[ratio, name].append((loss.item(), right))
    return {
        f"{ratio}x, {name}": {
            "nats_a_token": round(fmean(loss for loss, _ in one), 3),
            "right": round(fmean(right for _, right in one), 3),
            "batches": len(one),
        }
        for (ratio, name), one in found.items()
    }


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--ratio", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    given = arguments().parse_args()
    report = json.dumps(measure(given), indent=2)
    print(report)
    if given.json:
        given.json.write_text(report + "\n", encoding="utf-8")
