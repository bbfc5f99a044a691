"""Questions about real texts as batches of few shapes: several questions to each context.

Shapes: B contexts, N questions each, Q tokens of a question with its answer, T context tokens.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from sac_rag.data import read_qa
from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens

sys.path.append(str(Path(__file__).resolve().parents[1] / "embedded"))  # batches are as nano's

from curriculum import IGNORE, Batch

QUESTIONS = 4
"""N: a context with fewer leaves places empty, one with more shows others each time."""
WIDTH = 44
"""Q; longer questions are left out."""
BUCKETS = {128: 12, 256: 8, 384: 4, 510: 4}
"""B by the most tokens of a context, so that batches cost about alike; longer ones are left out."""
FARTHEST = 4096
"""Most positions left free before questions, as if some eighteen texts more stood there."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A context and all that is asked about it, in ids."""

    context: list[int]
    """BOS, prefix and text, as the encoder sees them."""
    asked: list[tuple[list[int], list[int]]]
    """Question part, and answer with EOS."""


@dataclass(frozen=True, kw_only=True)
class QuestionBatch(Batch):
    """A batch that says which of its texts are joined."""

    joined: list[list[int]]
    """The texts behind which each text's questions are asked, by index, in their order; its own is
    among them."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How often questions are asked among several texts, and far from them.

    Args:
        joined: Share of the texts that are joined with some of their batch, in any order.
        far: Share of those, and of the others, with up to ``FARTHEST`` free positions before the
            questions.
    """

    joined: float = 0.0
    far: float = 0.0


def read_texts(sources: Sequence[str], tokens: Tokens) -> list[Text]:
    """Read question files and gather what is asked about one text.

    Args:
        sources: Files, or patterns, as recipes name them.
        tokens: The base's tokenizer.
    """
    prompt, end = PromptFormat(), tokens.eos_ids[0]
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for source in sources:
        for record in read_qa(source):
            if len(record.documents) == 1:
                text = record.documents[0].text
                asked[text].append((record.question, record.answers[0]))
    texts = []
    for text, pairs in asked.items():
        context = prompt.seen_ids(text, tokens=tokens)
        if len(context) > max(BUCKETS):
            continue
        ids = [
            (tokens.encode(prompt.question(question)), [*tokens.encode(answer), end])
            for question, answer in pairs
        ]
        # the task token takes one place, the last token of an answer predicts nothing
        fitting = [(q, a) for q, a in ids if len(q) + len(a) <= WIDTH]
        if fitting:
            texts.append(Text(context=context, asked=fitting))
    return texts


def batches(texts: Sequence[Text], *, seed: int, mix: Mix = Mix()) -> Iterator[QuestionBatch]:
    """Give batches without end; buckets come as often as their texts do.

    Args:
        texts: What is asked about.
        seed: Of the order, of the questions that are drawn, and of what is mixed.
        mix: What is asked among several texts, and from afar; by default nothing.
    """
    rng = random.Random(seed)
    buckets: dict[int, list[Text]] = {most: [] for most in BUCKETS}
    for text in texts:
        buckets[min(most for most in BUCKETS if len(text.context) <= most)].append(text)
    waiting: dict[int, list[Text]] = {most: [] for most in BUCKETS}
    kinds = [most for most in BUCKETS if buckets[most]]
    while True:
        [most] = rng.choices(kinds, [len(buckets[kind]) / BUCKETS[kind] for kind in kinds])
        while len(waiting[most]) < BUCKETS[most]:
            waiting[most] += rng.sample(buckets[most], len(buckets[most]))
        chosen, waiting[most] = (
            waiting[most][: BUCKETS[most]],
            waiting[most][BUCKETS[most] :],
        )
        yield _batch(chosen, rng, mix)


def _batch(texts: Sequence[Text], rng: random.Random, mix: Mix) -> QuestionBatch:
    questions = torch.zeros(len(texts), QUESTIONS, WIDTH, dtype=torch.int64)
    labels = torch.full_like(questions, IGNORE)
    for row, text in enumerate(texts):
        drawn = rng.sample(text.asked, min(QUESTIONS, len(text.asked)))
        for place, (question, answer) in enumerate(drawn):
            both = question + answer[:-1]
            questions[row, place, : len(both)] = torch.tensor(both)
            start = len(question) - 1
            labels[row, place, start : start + len(answer)] = torch.tensor(answer)
    lengths = torch.tensor([len(text.context) for text in texts])
    context = pad_sequence([torch.tensor(text.context) for text in texts], batch_first=True)
    return QuestionBatch(
        documents=[[text.context] for text in texts],
        context=context,
        lengths=lengths,
        questions=questions,
        labels=labels,
        hints=torch.full_like(labels, IGNORE),
        gap=torch.tensor(
            [rng.randint(1, FARTHEST) if rng.random() < mix.far else 0 for _ in texts]
        ),
        joined=[
            _among(row, len(texts), rng) if rng.random() < mix.joined else [row]
            for row in range(len(texts))
        ],
    )


def _among(row: int, count: int, rng: random.Random) -> list[int]:
    """Draw one to all of the batch's other texts to stand around one."""
    others = [other for other in range(count) if other != row]
    chosen = [row, *rng.sample(others, rng.randint(1, len(others)))]
    rng.shuffle(chosen)
    return chosen
