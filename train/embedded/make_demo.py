"""Write the demonstration documents that ship with the embedded model.

    python train/embedded/make_demo.py [--out sac_rag/embedded/atlas]

A second on any machine, always the same files: ten entries of 300-500 tokens and one of more than
2,000, from a held-out world, and ``questions.jsonl`` with ``{"question", "answer", "document"}``.
Names are unique over all of them, so any of the documents may be joined.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from atlas import World, write
from build_tokenizer import save as save_tokenizer
from curriculum import Coder
from transformers import AutoTokenizer

LENGTHS = (330, 360, 390, 410, 430, 450, 460, 475, 490, 500, 2300)
"""Tokens of each document; the last is the long one."""
QUESTIONS = (5, 12)
"""Questions kept of a short and of the long document."""


def main(out: Path) -> None:
    """Write the folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(Path(folder))
        coder = Coder(AutoTokenizer.from_pretrained(folder))
    world, lines = World("demo", held_out=True), []
    for tokens in LENGTHS:
        document = write(world, coder.count, tokens)
        name = f"{document.title.lower()}.{'txt' if tokens == LENGTHS[-1] else 'md'}"
        (out / name).write_text(document.text + "\n", encoding="utf-8")
        kept = world.rng.sample(document.questions, QUESTIONS[tokens > 1000])
        lines += [
            json.dumps({"question": q.question, "answer": q.answer, "document": name}) for q in kept
        ]
    (out / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("sac_rag/embedded/atlas"))
    main(parser.parse_args().out)
