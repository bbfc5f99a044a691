"""Cloze questions as a question set, to stand beside the training sets of a fine-tuning.

    python train/micro/cloze_questions.py --data ../shared/data \\
        --texts runs/micro/sac_texts.txt.xz --out runs/table/cloze/cloze.train.jsonl.xz

Cut from whole articles by ``cloze.py``, as those of stage B are. Paragraphs that a development set
asks about give none. About a minute on one core for the 4,000 articles that adapters are
pretrained on; ``table.py`` calls it for the rows that want it.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from corpus import development_contexts
from readings import PER_JOB, from_documents

from sac_rag.data import read_texts

PER_PARAGRAPH = 2
"""Questions of a paragraph at most: two of many paragraphs teach more than five of few."""
MOST = 60_000
"""Questions at most: as many as the training sets have, so half of a shuffled step is cloze."""


def questions(data: Path, texts: Path) -> Iterator[dict[str, object]]:
    """Cut records as the question sets have them: a paragraph, a question, its answer."""
    known = development_contexts(data)
    rest = (record.text for record in read_texts(texts))
    count = 0
    for number, part in enumerate(iter(lambda: list(islice(rest, PER_JOB)), [])):
        for context, asked in from_documents(part, number, known):
            for question, answer in asked[:PER_PARAGRAPH]:
                count += 1
                yield {
                    "id": f"cloze-{count}",
                    "context": context,
                    "question": question,
                    "answers": [answer],
                    "source": "cloze",
                }


def main(args: argparse.Namespace) -> int:
    """Write the file, whole or not at all; give the number of questions."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.out.with_name(f".{os.getpid()}.{args.out.name}")
    count = 0
    with lzma.open(temporary, "wt", encoding="utf-8", preset=1) as file:
        for record in islice(questions(args.data, args.texts), args.most or None):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    if not count:
        temporary.unlink()
        raise SystemExit(f"{args.texts} holds no paragraph to ask about; give longer texts")
    temporary.replace(args.out)
    print(f"{args.out}: {count:,} questions", flush=True)
    return count


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="whole texts to cut from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=MOST, help="questions; 0 for all")
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
