"""Say what each codec keeps of the answers from real texts, and in how many bytes.

    python train/smollm2/kept_bytes.py --base runs/smollm2 --adapter runs/smol/sac-5x \\
        --data '../shared/data/qa/*.dev.jsonl.xz' --out train/smollm2/bytes.json

Some questions of every file, asked of anchors that a store has kept; bytes are those of its real
files. The basis of a PCA codec is fitted on other texts than those it keeps (four parts).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import qa_batches  # noqa: F401  # puts train/embedded on the path
import torch

from sac_rag.bench.bytes_curve import Question, bytes_curve, fixed, held_out_pca
from sac_rag.data import read_qa
from sac_rag.data.sources import open_sources
from sac_rag.engine import SACEngine

from bytes_table import markdown  # isort: skip


def questions(sources: Sequence[str], engine: SACEngine, *, each: int, seed: int) -> list[Question]:
    """Draw questions about one text of one chunk, so many of every file at most."""
    draw, found = random.Random(seed), []
    for source in open_sources(sources):
        records = [one for one in read_qa(source) if len(one.documents) == 1]
        made = (
            Question(question=one.question, answer=one.answers[0], document=one.documents[0].text)
            for one in draw.sample(records, len(records))
        )
        most = engine.adapter.config.compress.chunk_size
        found += islice((one for one in made if engine.count_tokens(one.document) < most), each)
    return found


def main(args: argparse.Namespace) -> None:
    """Measure, print the table and write JSON."""
    torch.set_num_threads(args.threads)
    with SACEngine.from_pretrained(args.base, adapter=args.adapter) as engine:
        asked = questions(args.data, engine, each=args.questions, seed=args.seed)
        codecs = {name: fixed(name) for name in ("exact", "int8", "int4")}
        documents = [one.document for one in asked]
        codecs |= held_out_pca(engine, documents, bits=args.bits)
        points = bytes_curve(engine, asked, codecs)
    print(markdown(points))
    text = json.dumps([point.to_dict() for point in points], indent=1)
    args.out.write_text(text + "\n", encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--questions", type=int, default=40, help="of each file, at most")
    parser.add_argument("--bits", type=float, nargs="+", default=[3, 2, 1.5, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
