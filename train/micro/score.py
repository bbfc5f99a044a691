"""Ask the development sets: with anchors, in full, or with nothing at all.

    python train/micro/score.py --data ../shared/data --model runs/micro/model --roads full none \\
        --out runs/scores/base.json
    python train/micro/score.py --data ../shared/data --model runs/micro/model \\
        --adapter runs/sac_5x/adapter --roads compressed --out runs/scores/sac_5x.json

Two averages over sets: in-domain, and out-of-domain; EM and F1 as the paper scores them and as
SQuAD does, with bootstrap intervals. Greedy, 32 new tokens at most. Broken off, it goes on from the
answers that lie in ``--answers``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from corpus import IN_DOMAIN, OUT_OF_DOMAIN, qa_paths

from sac_rag.data import QARecord, read_qa
from sac_rag.engine import SACEngine
from sac_rag.eval import evaluate
from sac_rag.eval.askers import ROADS

DOMAINS = {"in-domain": IN_DOMAIN, "out-of-domain": OUT_OF_DOMAIN}
MAX_NEW_TOKENS = 32


def questions(data: Path, names: tuple[str, ...], limit: int) -> list[QARecord]:
    """Read the sets that the folder has, ``limit`` questions of each; 0 for all."""
    found = [path for path in qa_paths(data, names, split="dev") if path.is_file()]
    return [record for path in found for record in islice(read_qa(path), limit or None)]


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Ask, and write one JSON file."""
    report: dict[str, Any] = {}
    with SACEngine.from_pretrained(args.model, adapter=args.adapter) as engine:
        askers = {road: ROADS[road](engine) for road in args.roads}
        for domain, names in DOMAINS.items():
            records = questions(args.data, names, args.limit)
            if not records:
                continue
            found = evaluate(
                askers,
                records,
                batch_size=args.batch,
                max_new_tokens=MAX_NEW_TOKENS,
                outputs=args.answers / domain if args.answers else None,
            )
            report[domain] = {name: asdict(one) for name, one in found.methods.items()}
            print(f"{domain}\n{found.to_text()}", flush=True)
        facts = {"limit": args.limit, "max_new_tokens": MAX_NEW_TOKENS, "device": _device(engine)}
    written = {"facts": facts, "domains": report}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return written


def _device(engine: SACEngine) -> str:
    import torch

    where = engine.adapter.backbone.device
    return torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=["compressed"])
    parser.add_argument("--limit", type=int, default=0, help="questions of each set; 0 for all")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--answers", type=Path, help="folder of answers, to go on from")
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
