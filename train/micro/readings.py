"""Texts with many questions each, as token ids on disk: what stage B reads.

    python train/micro/readings.py --data ../shared/data --tokenizer runs/micro/tokenizer \\
        --out runs/micro/readings [--tokens runs/micro/tokens/*.npy.xz] [--processes 16]

Two stores come out: ``qa``, the training sets, a context once with all that is asked about it; and
``cloze``, cut from the texts (``cloze.py``). The texts are read from the data folder, or, where
only token files were carried, from these. On one core about a second for 500 paragraphs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cloze
import numpy as np
from corpus import (
    TEXTS,
    Contexts,
    development_contexts,
    text_path,
    training_questions,
    training_texts,
)
from token_file import documents, open_tokens, unpacked
from transformers import AutoTokenizer

from sac_rag.data import QARecord
from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens

MAX_CONTEXT = 1600
"""Longer contexts are left out, in tokens: a row must hold one with its questions."""
MAX_QUESTION = 200
"""Longer questions with their answers are left out, in tokens."""
PER_JOB = 200
"""Documents that a process takes at once."""
Asked = tuple[str, list[tuple[str, str]]]
"""A document as the decoder reads it, and questions with their answers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """Contexts and their questions; neighbours in it were neighbours in their source."""

    ids: np.ndarray
    """All tokens, (N,) uint16."""
    contexts: np.ndarray
    """Start and end of each context in ``ids``, (C, 2)."""
    questions: np.ndarray
    """Of each question, start, where its answer begins, and end, (Q, 3), context by context."""
    first: np.ndarray
    """Number of each context's first question, and at last Q, (C + 1,)."""

    def __len__(self) -> int:
        """Contexts."""
        return len(self.contexts)

    def context(self, index: int) -> np.ndarray:
        """Give a context's ids: prefix and text, without BOS."""
        start, end = self.contexts[index]
        return self.ids[start:end]

    def asked(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Give a context's questions: the plain part, and the answer with EOS."""
        rows = self.questions[self.first[index] : self.first[index + 1]]
        return [(self.ids[a:b], self.ids[b:c]) for a, b, c in rows]

    def save(self, folder: Path) -> None:
        """Write a folder of four files, all of them or none: a step that was cut off makes it anew.

        A folder that is already there is replaced.
        """
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        temporary.mkdir(parents=True, exist_ok=True)
        for name in ("ids", "contexts", "questions", "first"):
            np.save(temporary / f"{name}.npy", getattr(self, name))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Map the ids, read the rest."""
        names = ("contexts", "questions", "first")
        rest = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
        return cls(ids=open_tokens(folder / "ids.npy"), **rest)


def gather(asked: Iterable[Asked], tokens: Tokens, prompt: PromptFormat) -> Store | None:
    """Turn texts with questions into a store; what is too long is left out.

    Returns:
        The store, None if nothing is left.
    """
    prefix, end = tokens.encode(prompt.context_prefix), tokens.tokenizer.eos_token_id
    ids: list[np.ndarray] = []
    contexts, questions, first, place = [], [], [0], 0

    def keep(one: list[int]) -> int:
        nonlocal place
        ids.append(np.array(one, dtype=np.uint16))
        place += len(one)
        return place

    for text, asks in asked:
        written = [prefix + tokens.encode(text)]
        pairs = [(tokens.encode(prompt.question(q)), [*tokens.encode(a), end]) for q, a in asks]
        pairs = [pair for pair in pairs if sum(map(len, pair)) <= MAX_QUESTION]
        if len(written[0]) > MAX_CONTEXT or not pairs:
            continue
        contexts.append((place, keep(written[0])))
        questions += [(place, keep(question), keep(answer)) for question, answer in pairs]
        first.append(len(questions))
    if not contexts:
        return None
    return Store(
        ids=np.concatenate(ids),
        contexts=np.array(contexts, np.int64),
        questions=np.array(questions, np.int64),
        first=np.array(first, np.int64),
    )


def merged(stores: Iterable[Store | None]) -> Store:
    """Lay stores behind each other.

    Raises:
        ValueError: If there is none.
    """
    parts = [store for store in stores if store is not None]
    if not parts:
        raise ValueError(
            f"no text of at most {MAX_CONTEXT} tokens has a question of at most {MAX_QUESTION}; "
            "check the data folder"
        )
    ids_before = np.cumsum([0, *(len(part.ids) for part in parts)])
    asked_before = np.cumsum([0, *(len(part.questions) for part in parts)])
    return Store(
        ids=np.concatenate([part.ids for part in parts]),
        contexts=np.concatenate(
            [part.contexts + at for part, at in zip(parts, ids_before, strict=False)]
        ),
        questions=np.concatenate(
            [part.questions + at for part, at in zip(parts, ids_before, strict=False)]
        ),
        first=np.concatenate(
            [
                *(part.first[:-1] + at for part, at in zip(parts, asked_before, strict=False)),
                asked_before[-1:],
            ]
        ),
    )


def from_records(records: Iterable[QARecord], prompt: PromptFormat) -> list[Asked]:
    """Gather the questions of each context; one that has several documents is left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    for record in records:
        if len(record.documents) == 1:
            one = record.documents[0]
            written = prompt.document(one.text, one.title)[len(prompt.context_prefix) :]
            found.setdefault(written, []).append((record.question, record.answers[0]))
    return list(found.items())


def from_documents(texts: Sequence[str], number: int, known: Contexts) -> list[Asked]:
    """Cut questions from documents; paragraphs that a development set asks about are passed over.

    Args:
        texts: Documents.
        number: Of the job; fixes what is drawn.
        known: The development sets' contexts.
    """
    draw, made = random.Random(f"cloze:{number}"), []
    for paragraph in chain.from_iterable(map(cloze.paragraphs, texts)):
        reading = None if known.repeats(paragraph) else cloze.read(paragraph, draw)
        if reading:
            made.append((reading.text, [(one.question, one.answer) for one in reading.questions]))
    return made


def decoded(path: Path, tokenizer: Any) -> Iterator[str]:
    """Read a token file's documents as text."""
    tokens = Tokens(tokenizer)
    for ids in documents(open_tokens(path), bos=tokenizer.bos_token_id):
        yield tokens.decode(ids.tolist())


def main(args: argparse.Namespace) -> None:
    """Make both stores."""
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    prompt = PromptFormat()
    asked = from_records(training_questions(args.data), prompt)
    merged([gather(asked, Tokens(tokenizer), prompt)]).save(args.out / "qa")
    if args.tokens:
        texts = chain.from_iterable(decoded(unpacked(path), tokenizer) for path in args.tokens)
    else:
        names = [name for name in args.texts if text_path(args.data, name).is_file()]
        texts = chain.from_iterable(training_texts(args.data, name) for name in names)
    known = development_contexts(args.data)
    rest = islice(texts, args.limit or None)
    jobs = enumerate(iter(lambda: list(islice(rest, PER_JOB)), []))
    _KNOWN.update(known=known, tokens=Tokens(tokenizer), prompt=prompt)
    if args.processes > 1:  # forked: what is known is not sent with every job
        with get_context("fork").Pool(args.processes) as pool:
            store = merged(pool.imap(_job, jobs))
    else:
        store = merged(map(_job, jobs))
    store.save(args.out / "cloze")


_KNOWN: dict[str, Any] = {}
"""What every job needs; set before the processes are forked."""


def _job(job: tuple[int, Sequence[str]]) -> Store | None:
    number, texts = job
    asked = from_documents(texts, number, _KNOWN["known"])
    return gather(asked, _KNOWN["tokens"], _KNOWN["prompt"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, nargs="*", help="token files instead of texts")
    parser.add_argument("--texts", nargs="+", default=list(TEXTS[:3]))
    parser.add_argument("--limit", type=int, default=0, help="documents at most; 0 for all")
    parser.add_argument("--processes", type=int, default=1)
    main(parser.parse_args())
