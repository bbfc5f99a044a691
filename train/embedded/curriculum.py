"""Batches for the embedded model: documents with many questions each, harder whenever they are
answered.

A batch is padded to the shape of its level, so that a compiled step sees few shapes. Prompts are
the paper's (``### Context:``, ``### Question:``, ``### Answer:``); at the last level some
questions come wrapped the way frameworks wrap them by default.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from atlas import Document, Question, Style, World, write
from gaze import Asked, Gaze, aim, place
from phrases import ENDS, SURNAME_ENDS
from torch import Tensor
from transformers import PreTrainedTokenizerBase

CONTEXT = "### Context:\n"
PROMPT = "\n### Question:\n{}\n### Answer:\n"
RULE = "---------------------"
WRAPPERS = (
    f"Context information is below.\n{RULE}\n{{c}}\n{RULE}\nGiven the context information and not "
    "prior knowledge, answer the query.\nQuery: {q}\nAnswer: ",
    "Answer the question using only the context.\n\nContext: {c}\n\nQuestion: {q}\nAnswer:",
    "Answer the question based only on the following context:\n{c}\n\nQuestion: {q}\n",
    "Use the following pieces of retrieved context to answer the question. If you don't know the "
    "answer, just say that you don't know. Use three sentences maximum and keep the answer "
    "concise.\nQuestion: {q} \nContext: {c} \nAnswer:",
    "Use the context.\n{c}\nQuestion: {q}\nShort answer:",
)
"""Frameworks' default templates; the context's slot is empty: the documents stand in front."""
IGNORE = -100
WINDOW = 6000
"""Furthest position at which questions are asked in training."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A step of the curriculum."""

    tokens: tuple[int, int]
    """Length of a document, in tokens, at least and at most."""
    style: Style
    """How hard the documents are to read."""
    contexts: int
    """Contexts per batch."""
    questions: int = 16
    """Questions per context."""
    documents: int = 1
    """Documents of a context at most; its length is divided among them."""
    wrapped: float = 0.0
    """Share of batches whose questions are wrapped as frameworks do."""
    long: float = 0.0
    """Share of batches with several documents joined or one very long one."""
    guided: bool = False
    """Whether the decoder is shown where to look (``gaze``)."""
    found: float = 0.0
    """Chance that a document looks as loaders hand it on: title in front, no heading, ..."""


def _style(**changes: float) -> Style:
    plain = {
        "says": 1,
        "asks": 1,
        "pronoun": 0.0,
        "filler": 0.0,
        "openings": 0.0,
        "alike": 1.0,
    }
    return Style(**(plain | changes))  # type: ignore[arg-type]


LEVELS = (
    Level(tokens=(44, 62), style=_style(facts=1), contexts=32, questions=6, guided=True),
    Level(tokens=(80, 94), style=_style(facts=1), contexts=24, questions=8, guided=True),
    Level(tokens=(80, 94), style=_style(facts=2), contexts=24, questions=8, guided=True),
    Level(tokens=(130, 158), style=_style(facts=2), contexts=16, questions=12, guided=True),
    Level(
        tokens=(130, 158),
        style=_style(facts=3, says=3, asks=2),
        contexts=16,
        questions=12,
        guided=True,
    ),
    Level(tokens=(220, 254), style=_style(says=9, asks=9, alike=0.8), contexts=12, guided=True),
    Level(tokens=(300, 382), style=Style(alike=0.4, filler=0.2), contexts=8, documents=3),
    Level(tokens=(250, 524), style=Style(alike=0.2), contexts=8, documents=4, long=0.05, found=0.2),
    Level(
        tokens=(250, 524),
        style=Style(alike=0.1),
        contexts=8,
        documents=4,
        wrapped=0.04,
        long=0.3,
        found=0.4,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Token ids of contexts and their questions, padded."""

    documents: list[list[list[int]]]
    """Ids of every document of every context, each with BOS and the context line in front."""
    context: Tensor
    """Ids of the whole context, (B, T)."""
    lengths: Tensor
    """Tokens of each context, (B,)."""
    questions: Tensor
    """Ids of questions and answers, (B, N, Q)."""
    labels: Tensor
    """Ids to predict at each place, ``IGNORE`` outside answers, (B, N, Q)."""
    hints: Tensor
    """Second syllables of names in the questions, likewise: they can be copied from the context."""
    gap: Tensor
    """Free positions between context and questions, (B,)."""
    gaze: Gaze | None = None
    """Where to look, on the levels that say so."""


class Coder:
    """Turns texts into ids as prompts are built: pieces apart, then laid behind each other."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        ends = tokenizer.convert_tokens_to_ids([*ENDS, *SURNAME_ENDS])
        self.name_ends = torch.zeros(len(tokenizer), dtype=torch.bool)
        self.name_ends[ends] = True
        self.bos, self.eos, self.pad = (
            tokenizer.convert_tokens_to_ids(t) for t in ("<|bos|>", "<|eos|>", "<|pad|>")
        )

    def ids(self, text: str) -> list[int]:
        """Give the ids of a text, without special tokens."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def count(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(self.ids(text))

    def document(self, text: str) -> list[int]:
        """Give what the encoder sees of a document."""
        return [self.bos, *self.ids(CONTEXT + text)]

    def context(self, documents: list[str]) -> list[int]:
        """Give the ids of documents that are read in full, one behind the other."""
        return [self.bos, *self.ids(self._together(documents))]

    def starts(self, documents: list[str]) -> list[int]:
        """Give where each token of a context but the BOS begins, in characters."""
        text = self._together(documents)
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        # a token that writes its space has it in its own span
        return [start + (text[start] == " ") for start, _ in offsets]

    def place(self, text: str, end: int) -> int:
        """Give which of a text's tokens holds the character before ``end``."""
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        return max(i for i, (start, _) in enumerate(offsets) if start < end)

    @staticmethod
    def fronts(documents: list[str]) -> list[int]:
        """Give the characters of a context in front of each document's text."""
        return [
            len(CONTEXT) * (d + 1) + d + sum(map(len, documents[:d])) for d in range(len(documents))
        ]

    @staticmethod
    def _together(documents: list[str]) -> str:
        return "\n".join(CONTEXT + text for text in documents)

    def prompt(self, question: str) -> list[int]:
        """Give the ids of everything between the documents and the answer."""
        return self.ids(PROMPT.format(question))


def _as_found(rng: random.Random, document: Document, chance: float) -> Document:
    """Change a document's surroundings as file loaders and titles in metadata do."""
    if rng.random() >= chance:
        return document
    text, title = document.text, document.title
    forms = (
        text + "\n",
        f"{title}\n{text}",
        f"{title}\n{text}\n",
        text.split("\n\n", 1)[1],
        f"file_name: {title.lower()}.md\n\n{text}",
        f"{title}\n\n" + text.split("\n\n", 1)[1],
        f"title: {title}\n\n{text}",
        f"source: {title.lower()}.txt\n{text}",
    )
    return replace(document, text=rng.choice(forms))


def make_documents(world: World, coder: Coder, level: Level, shape: str) -> list[Document]:
    """Write a context's documents: ``one``, ``joined`` (2-8) or ``large`` (1,200-3,600 tokens)."""
    world.forget()
    rng = world.rng
    if shape == "one":
        # room for what a loader may add
        count = rng.randint(1, level.documents)
        room = rng.randint(*level.tokens) - (16 * count if level.found else 3 * (count - 1))
        lengths = [room // count] * count
    elif shape == "large":
        lengths = [rng.randint(1200, 3600)]
    else:
        lengths = [rng.randint(200, 480) for _ in range(rng.randint(2, 8))]
    written = [write(world, coder.count, tokens, style=level.style) for tokens in lengths]
    return [_as_found(rng, document, level.found) for document in written]


def _ask(
    coder: Coder, rng: random.Random, question: Question, wrapped: bool
) -> tuple[list[int], list[int]]:
    asked = coder.prompt(question.question)
    if wrapped:
        text = rng.choice(WRAPPERS).format(c="", q=question.question)
        asked = coder.prompt(text) if rng.random() < 0.7 else coder.ids("\n" + text + "\n")
    return asked, [*coder.ids(question.answer), coder.eos]


def make_batch(
    world: World,
    coder: Coder,
    level: Level,
    gaps: float,
    *,
    kind: float | None = None,
    share: int = 1,
) -> Batch:
    """Draw a batch.

    Args:
        world: Where the documents come from.
        coder: The tokenizer.
        level: How hard, and how many.
        gaps: Share of contexts with free positions before the questions, as if documents stood
            there.
        kind: Between 0 and 1, which kind of batch; drawn if not given.
        share: Among how many processes the contexts of a batch are divided.
    """
    rng = world.rng
    draw = rng.random() if kind is None else kind
    wrapped, long = draw < level.wrapped, draw > 1 - level.long
    shape = rng.choice(("joined", "large")) if long else "one"
    count = 1 if long else level.contexts // share // (2 if wrapped else 1)
    n, q = (24, 24) if long else (8, 112) if wrapped else (level.questions, 24)
    sets = [make_documents(world, coder, level, shape) for _ in range(count)]
    contexts = [coder.context([d.text for d in documents]) for documents in sets]
    widest = (
        -(-max(map(len, contexts)) // 512) * 512 if long else -(-(level.tokens[1] + 2) // 32) * 32
    )
    context = torch.full((count, widest), coder.pad)
    questions, labels = torch.full((count, n, q), coder.pad), torch.full((count, n, q), IGNORE)
    placed: list[list[Asked]] = []
    for b, documents in enumerate(sets):
        context[b, : len(contexts[b])] = torch.tensor(contexts[b])
        pool = [(question, d) for d, one in enumerate(documents) for question in one.questions]
        chosen = rng.sample(pool, min(n, len(pool)))
        chosen += rng.choices(pool, k=n - len(chosen))
        if level.guided and not (wrapped or long):
            before = coder.fronts([d.text for d in documents])
            placed.append(place(coder, PROMPT, [(one, before[d]) for one, d in chosen]))
        for i, (question, _) in enumerate(chosen):
            asked, answer = _ask(coder, rng, question, wrapped)
            ids = torch.tensor(asked + answer)[:q]
            questions[b, i, : len(ids)] = ids
            labels[b, i, len(asked) - 1 : len(ids) - 1] = ids[len(asked) :]
    following = torch.cat(
        (questions[:, :, 1:], torch.full_like(questions[:, :, :1], coder.pad)), dim=2
    )
    hinted = coder.name_ends[following] & (labels == IGNORE)
    lengths = torch.tensor([len(c) for c in contexts])
    room = WINDOW - lengths - q
    gap = torch.tensor(
        [rng.randint(0, int(r)) if rng.random() < gaps and r > 0 else 0 for r in room]
    )
    encoder_view = [[coder.document(d.text) for d in documents] for documents in sets]
    return Batch(
        documents=encoder_view,
        context=context,
        lengths=lengths,
        questions=questions,
        labels=labels,
        hints=following.where(hinted, IGNORE),
        gap=gap,
        gaze=aim([coder.starts([d.text for d in documents]) for documents in sets], placed)
        if placed
        else None,
    )
