"""Measure the embedded model on held-out worlds: full context, anchors, and no context at all.

    python train/embedded/evaluate.py --base sac_rag/embedded/nano --out scores.json

Two CPU cores, about ten minutes (``--questions 50`` for a quick look). Greedy decoding through
the library's own engine; a question counts when the answer is the expected string, character for
character. Expected: the table of the model card (``sac_rag/embedded/nano/README.md``). Seeds are
fixed, and their names and values in part never occur in training.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from atlas import Question, Style, World, write
from curriculum import Coder
from transformers import AutoTokenizer

from sac_rag.engine import SACEngine
from sac_rag.engine.requests import Document as Given
from sac_rag.engine.requests import Request

Asked = list[tuple[list[str], Question]]
"""Questions with the texts of the documents they are asked about."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Exact match on one set of questions, read in one way."""

    task: str
    """``one`` document of 300-510 tokens, a ``pair``, 8 ``joined``, or one ``long`` of 2,000+."""
    road: str
    """``full``, ``anchors`` or ``none`` (no context)."""
    right: int
    """Answers that are the expected string."""
    asked: int
    """Questions."""
    low: float
    """Lower end of the 95 % interval (Wilson)."""
    high: float
    """Its upper end."""
    source_tokens: float
    """Mean length of what was read, in tokens."""


def questions(task: str, coder: Coder, count: int) -> Asked:
    """Write the held-out questions of a task, always the same."""
    world, asked = World(f"held-out-{task}", held_out=True), []
    number = {"one": 1, "long": 1, "pair": 2, "joined": 8}[task]
    per_set = {"one": 4, "long": 10, "pair": 4, "joined": 8}[task]
    while len(asked) < count:
        world.forget()
        span = (2000, 3200) if task == "long" else (300, 508 if task == "one" else 480)
        lengths = [world.rng.randint(*span) for _ in range(number)]
        documents = [write(world, coder.count, tokens, style=Style()) for tokens in lengths]
        texts = [document.text for document in documents]
        pool = [question for document in documents for question in document.questions]
        asked += [(texts, question) for question in world.rng.sample(pool, per_set)]
    return asked[:count]


def _request(engine: SACEngine, texts: list[str], question: str, road: str) -> Request:
    documents = [] if road == "none" else [Given(text=text) for text in texts]
    return engine.request(question, documents, compress=road == "anchors")


def measure(
    engine: SACEngine, task: str, road: str, asked: Asked, coder: Coder
) -> tuple[Score, list[str]]:
    """Ask every question and count; give the answers too."""
    requests = [_request(engine, texts, one.question, road) for texts, one in asked]
    answers = [answer.text for answer in engine.generate(requests, max_new_tokens=16)]
    right = sum(text == one.answer for text, (_, one) in zip(answers, asked, strict=True))
    low, high = wilson(right, len(asked))
    length = sum(len(coder.context(texts)) for texts, _ in asked) / len(asked)
    score = Score(
        task=task,
        road=road,
        right=right,
        asked=len(asked),
        low=low,
        high=high,
        source_tokens=round(length, 1),
    )
    return score, answers


def wilson(right: int, asked: int) -> tuple[float, float]:
    """Give the 95 % interval of a share.

    >>> tuple(round(end, 3) for end in wilson(190, 200))
    (0.91, 0.973)
    """
    z, share = 1.96, right / asked
    centre = share + z * z / (2 * asked)
    half = z * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    return (centre - half) / (1 + z * z / asked), (centre + half) / (1 + z * z / asked)


def main(args: argparse.Namespace) -> None:
    """Measure, print a table, write JSON."""
    coder = Coder(AutoTokenizer.from_pretrained(args.base))
    own = args.base / "sac-5x"
    folder = args.adapter or (own if own.exists() else None)
    engine = SACEngine.from_pretrained(args.base, adapter=folder)
    roads = ["full", "anchors", "none"] if folder else ["full", "none"]
    scores = []
    print(f"{'task':8} {'road':8} {'exact match':>11}  {'95 % interval':15} {'n':>4} {'tokens':>7}")
    for task in args.tasks:
        asked = questions(task, coder, args.questions)
        for road in roads:
            score, answers = measure(engine, task, road, asked, coder)
            scores.append(score)
            span = f"{score.low:.3f} - {score.high:.3f}"
            print(
                f"{task:8} {road:8} {score.right / score.asked:11.3f}  {span:15} {score.asked:4} "
                f"{score.source_tokens:7.0f}",
                flush=True,
            )
            if args.wrong:
                for answer, (_, one) in zip(answers, asked, strict=True):
                    if answer != one.answer and road != "none":
                        print(f"    {one.question}  expected {one.answer!r}, got {answer!r}")
    if args.out:
        args.out.write_text(
            json.dumps([asdict(s) for s in scores], indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=Path("sac_rag/embedded/nano"))
    parser.add_argument("--adapter", type=Path, help="by default <base>/sac-5x")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["one", "pair", "joined", "long"])
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--wrong", action="store_true", help="print wrong answers")
    torch.set_flush_denormal(True)
    main(parser.parse_args())
