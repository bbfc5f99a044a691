"""Write what the table of the embedded model is trained and asked on: texts, questions, an exam.

    python train/embedded/table_texts.py --base train/embedded/full_text \\
        --out runs/embedded_table/data

All of it is synthetic: entries of the fictional atlas, whose names and values are drawn from a
seed. ``texts.jsonl`` is for pretraining: an entry, then the same facts told again in another order
and, where there are several, other words, so that the second half of a text can be continued by one
who has its first half. ``questions.jsonl`` is for fine-tuning; ``exam.jsonl`` is asked, of held-out
worlds, in two sets: contexts of one chunk, and longer ones. One entry gives one question to train
on, four to ask. ``study.jsonl`` asks of the exam's entries in other words than the exam, and all of
their facts: whoever trains on each entry by itself, as CARTRIDGE does, studies these. A share of
texts and questions is longer than one chunk. Same seed, same files.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from atlas import Document, Question, Style, World, write
from curriculum import Coder
from places import KINDS
from transformers import AutoTokenizer

CHUNK = 255
"""Tokens of a chunk in this table: BOS and context line take some of them."""
ONE_CHUNK, LONGER = (80, CHUNK - 15), (CHUNK + 15, 2 * CHUNK - 30)
"""Tokens of an entry."""
LONG_SHARE = 1 / 3
"""Of texts and questions that are longer than one chunk."""
ASKED_OF_AN_ENTRY = 4
STYLE = Style(alike=0.0)
"""Full difficulty; places of an entry are of different kinds, as far as there are kinds."""

FACTS = {ask: fact for kind in KINDS.values() for fact in kind.facts.values() for ask in fact.asks}


def told_again(document: Document, rng: random.Random) -> str:
    """Tell an entry's facts a second time: shuffled, places by name, a wording drawn anew."""
    sentences = [_statement(question, rng) for question in document.questions]
    rng.shuffle(sentences)
    return " ".join(sentences)


def _statement(question: Question, rng: random.Random) -> str:
    fact = FACTS[question.question.replace(question.name, "{e}")]
    subject = question.name[:1].upper() + question.name[1:]
    return rng.choice(fact.says).format(S=subject, e=question.name, v=question.answer)


def entry(world: World, coder: Coder, span: tuple[int, int]) -> Document:
    """Write an entry that has something to ask, and forget its names."""
    while True:
        world.forget()
        document = write(world, coder.count, world.rng.randint(*span), style=STYLE)
        if len(document.questions) >= ASKED_OF_AN_ENTRY:
            return document


def texts(world: World, coder: Coder, count: int) -> Iterator[dict[str, Any]]:
    """Write pretraining texts."""
    for _ in range(count):
        document = entry(world, coder, drawn_span(world.rng))
        yield {"text": f"{document.text}\n\n{told_again(document, world.rng)}"}


def questions(world: World, coder: Coder, count: int) -> Iterator[dict[str, Any]]:
    """Write questions to train on, each about an entry of its own."""
    for _ in range(count):
        document = entry(world, coder, drawn_span(world.rng))
        yield _record(document, world.rng.choice(document.questions))


def exam(world: World, coder: Coder, count: int) -> Iterator[dict[str, Any]]:
    """Write ``count`` questions a set."""
    for name, document, asked in _entries_asked(world, coder, count):
        for question in asked:
            yield _record(document, question) | {"source": name}


def study(world: World, coder: Coder, count: int, words: int = 2) -> Iterator[dict[str, Any]]:
    """Write questions of the exam's entries, each fact in ``words`` ways that the exam has not.

    Args:
        world: As ``exam`` gets it, of the same seed.
        coder: Counts tokens.
        count: Questions of each set of the exam.
        words: Of each fact at most.
    """
    draw = random.Random("study")
    for _, document, asked in _entries_asked(world, coder, count):
        exam_words = {question.question for question in asked}
        for question in document.questions:
            fact = FACTS[question.question.replace(question.name, "{e}")]
            ways = [ask.replace("{e}", question.name) for ask in fact.asks]
            ways = [way for way in ways if way not in exam_words]
            for way in draw.sample(ways, min(words, len(ways))):
                yield _record(document, replace(question, question=way))


def _entries_asked(
    world: World, coder: Coder, count: int
) -> Iterator[tuple[str, Document, list[Question]]]:
    """Write the exam's entries, each with the name of its set and what is asked of it."""
    for name, span in (("one chunk", ONE_CHUNK), ("two chunks", LONGER)):
        asked = 0
        while asked < count:
            document = entry(world, coder, span)
            wanted = min(ASKED_OF_AN_ENTRY, count - asked)
            yield name, document, world.rng.sample(document.questions, wanted)
            asked += wanted


def drawn_span(rng: random.Random) -> tuple[int, int]:
    """Draw how many tokens an entry may have; a share is longer than one chunk."""
    return LONGER if rng.random() < LONG_SHARE else ONE_CHUNK


def _record(document: Document, question: Question) -> dict[str, Any]:
    return {
        "context": document.text,
        "question": question.question,
        "answers": [question.answer],
    }


def main(args: argparse.Namespace) -> None:
    """Write the files."""
    coder = Coder(AutoTokenizer.from_pretrained(args.base))
    args.out.mkdir(parents=True, exist_ok=True)
    exam_world = partial(World, f"{args.seed}-exam", held_out=True)
    for name, records in (
        ("texts", texts(World(f"{args.seed}-texts"), coder, args.texts)),
        ("questions", questions(World(f"{args.seed}-questions"), coder, args.questions)),
        ("exam", exam(exam_world(), coder, args.exam)),
        ("study", study(exam_world(), coder, args.exam)),
    ):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        temporary = args.out / f".{name}.tmp"
        temporary.write_text(lines, encoding="utf-8")
        temporary.replace(args.out / f"{name}.jsonl")


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="whose tokenizer counts")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--questions", type=int, default=8000)
    parser.add_argument("--exam", type=int, default=100, help="questions of each set")
    parser.add_argument("--seed", default="table")
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
