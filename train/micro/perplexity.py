"""Loss on text that was never trained on, per token, per word and per byte.

    python train/micro/perplexity.py --model runs/micro/base --tokens runs/micro/tokens/held_out.npy

Windows of 2,048 tokens, each read from its start with nothing before it, every token predicted once
but the first: a little worse than sliding over the text. Per word compares across tokenizers.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoder import WINDOW
from token_file import documents, open_tokens, unpacked
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from sac_rag.tokens import Tokens

BATCH = 8


@torch.inference_mode()
def total_loss(model: Any, ids: np.ndarray, *, width: int = WINDOW) -> tuple[float, int]:
    """Give the sum of losses in nats over a token file, and the number of tokens predicted."""
    total, counted = 0.0, 0
    whole = len(ids) // width * width
    rows = [*ids[:whole].reshape(-1, width), *([ids[whole:]] if len(ids) - whole > 1 else [])]
    for first in range(0, len(rows), BATCH):
        for group in _of_one_length(rows[first : first + BATCH]):
            batch_BT = torch.from_numpy(group.astype(np.int64)).to(model.device)
            logits_BTV = model(input_ids=batch_BT, use_cache=False).logits[:, :-1].float()
            targets_BT = batch_BT[:, 1:]
            losses = cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="sum")
            total, counted = total + losses.item(), counted + targets_BT.numel()
    return total, counted


def measure(model: Any, tokenizer: Any, path: Path) -> dict[str, float]:
    """Give the loss on a token file, in several units."""
    ids = np.array(open_tokens(path))
    loss, counted = total_loss(model, ids)
    tokens = Tokens(tokenizer)
    texts = [tokens.decode(one.tolist()) for one in documents(ids, bos=tokenizer.bos_token_id)]
    # every token counts in the numerator; words and bytes are of the whole text
    scaled = loss / counted * len(ids)
    words, size = (
        sum(map(f, texts)) for f in (lambda t: len(t.split()), lambda t: len(t.encode()))
    )
    return {
        "tokens": counted,
        "loss_per_token": loss / counted,
        "perplexity_per_token": math.exp(loss / counted),
        "perplexity_per_word": math.exp(scaled / words),
        "bits_per_byte": scaled / size / math.log(2),
    }


def main(args: argparse.Namespace) -> None:
    """Measure each file; print, and write JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    found = {}
    for path in args.tokens:
        plain = unpacked(path)
        found[plain.stem] = measure(model, tokenizer, plain)
        print(plain.stem, json.dumps(found[plain.stem]), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _of_one_length(rows: list[np.ndarray]) -> list[np.ndarray]:
    lengths = sorted({len(row) for row in rows})
    return [np.stack([row for row in rows if len(row) == length]) for length in lengths]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
