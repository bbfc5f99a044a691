"""Write the exam a second time, each question's document now among others: ``joined.jsonl``.

    python train/embedded/joined_exam.py --base train/embedded/full_text \\
        --exam runs/embedded_table/data/exam.jsonl --out runs/embedded_table/data/joined.jsonl

Questions, answers and sets are those of the exam that ``table_texts.py`` wrote. The others are
entries of a held-out world of their own; none tells of a place of the question's document, and
none says the answer, so that it can come from that document alone. Their lengths are those of the
training data; the order is shuffled. Same exam and seed, same file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from atlas import Document, World
from curriculum import Coder
from table_texts import drawn_span, entry
from transformers import AutoTokenizer

OTHERS = 3
"""Documents beside a question's own; as many as composition-aware training joins."""


def joined(
    exam: Iterable[dict[str, Any]], world: World, coder: Coder, others: int
) -> Iterator[dict[str, Any]]:
    """Put the document of each question among others."""
    for record in exam:
        documents = [{"text": record["context"], "gold": True}]
        while len(documents) <= others:
            document = entry(world, coder, drawn_span(world.rng))
            if not _is_telling(document, record):
                documents.append({"text": document.text, "gold": False})
        world.rng.shuffle(documents)
        kept = {name: value for name, value in record.items() if name != "context"}
        yield {"documents": documents, **kept}


def _is_telling(document: Document, record: dict[str, Any]) -> bool:
    """Whether a document names one of the record's places, or says its answer."""
    names = {question.own_name for question in document.questions}
    text = document.text.lower()
    return any(name in record["context"] for name in names) or any(
        answer.lower() in text for answer in record["answers"]
    )


def main(args: argparse.Namespace) -> None:
    """Write the file."""
    coder = Coder(AutoTokenizer.from_pretrained(args.base))
    exam = [json.loads(line) for line in args.exam.read_text(encoding="utf-8").splitlines()]
    world = World(f"{args.seed}-joined", held_out=True)
    lines = "".join(json.dumps(one) + "\n" for one in joined(exam, world, coder, args.others))
    temporary = args.out.with_suffix(".tmp")
    temporary.write_text(lines, encoding="utf-8")
    temporary.replace(args.out)


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="whose tokenizer counts")
    parser.add_argument("--exam", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--others", type=int, default=OTHERS, help="documents beside its own")
    parser.add_argument("--seed", default="table")
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
