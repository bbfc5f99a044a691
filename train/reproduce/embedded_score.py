"""Ask the exam of the embedded table: of one adapter, or of the base in full and with nothing.

    python train/reproduce/embedded_score.py --model runs/embedded_table/base --adapter A \\
        --roads compressed --exam runs/embedded_table/data/exam.jsonl --answers DIR --out S.json

EM and F1 as the paper scores them and as SQuAD does; macro over the sets of the exam. Greedy.
Broken off, it goes on from the answers that lie in ``--answers``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from sac_rag.data import read_qa
from sac_rag.engine import SACEngine
from sac_rag.eval import evaluate
from sac_rag.eval.askers import ROADS

MAX_NEW_TOKENS = 16


def main(args: argparse.Namespace) -> None:
    """Ask, and write one JSON file."""
    with SACEngine.from_pretrained(
        args.model, adapter=args.adapter, ratio=args.ratio, device="cpu", dtype="float32"
    ) as engine:
        report = evaluate(
            {road: ROADS[road](engine) for road in args.roads},
            read_qa(args.exam),
            batch_size=args.batch,
            max_new_tokens=MAX_NEW_TOKENS,
            outputs=args.answers,
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    methods = {name: asdict(one) for name, one in report.methods.items()}
    args.out.write_text(json.dumps(methods, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument(
        "--ratio", type=int, help="of those that the adapter serves; its own without"
    )
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=["compressed"])
    parser.add_argument("--exam", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
