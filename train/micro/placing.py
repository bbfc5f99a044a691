"""Questions about longer documents and about more of them; where the answer stands is chosen.

What is changed is what stands around the answer: the question, its answers and the text that holds
them stay, so that scores before and after are of the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sac_rag.data import Passage, QARecord
from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens

PLACES = ("first", "middle", "last")
"""Where documents that hold the answer stand among the others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """Counts what documents and questions take, in tokens."""

    tokens: Tokens
    """The base's tokenizer."""
    prompt: PromptFormat
    """How documents and questions are written."""
    chunk_size: int
    """Tokens encoded together."""

    def document(self, passage: Passage) -> int:
        """Count a document as the encoder reads it."""
        return len(self.prompt.seen_ids(passage.text, passage.title, tokens=self.tokens))

    def chunks(self, record: QARecord) -> int:
        """Count the chunks of a question's documents; each begins with one of its own."""
        return sum(-(-self.document(one) // self.chunk_size) for one in record.documents)

    def needed(self, record: QARecord, *, max_new_tokens: int) -> int:
        """Count the positions of a question with its answer, on whatever road it is asked."""
        separator = self.tokens.count(self.prompt.document_separator)
        documents = sum(self.document(one) + separator for one in record.documents)
        question = self.tokens.count(self.prompt.question(record.question))
        return documents + question + 1 + max_new_tokens


def put_gold(record: QARecord, place: str) -> QARecord:
    """Move the documents that hold the answer together to a place; the order of others stays.

    Args:
        record: A question whose data says which documents those are.
        place: One of ``PLACES``.

    Raises:
        ValueError: If the data does not say, or there is no such place.
    """
    gold = [one for one in record.documents if one.gold]
    others = [one for one in record.documents if not one.gold]
    if not gold or not others:
        raise ValueError(f"{record.id}: {len(gold)} documents are gold, {len(others)} are not")
    if place not in PLACES:
        raise ValueError(f"no place is called {place!r}; choose from {', '.join(PLACES)}")
    at = {"first": 0, "middle": len(others) // 2, "last": len(others)}[place]
    return replace(record, documents=(*others[:at], *gold, *others[at:]))


def among(record: QARecord, others: Sequence[Passage], *, count: int, seed: int) -> QARecord | None:
    """Join texts of other questions to a question's one; None if there are too few.

    Args:
        record: A question with one document, which becomes gold.
        others: What may stand beside it; what says an answer is passed over.
        count: How many do.
        seed: Of the choice.
    """
    chosen = _around(record, others, random.Random(f"{seed}:{record.id}"))[:count]
    [own] = record.documents
    if len(chosen) < count:
        return None
    documents = (replace(own, gold=True), *(replace(one, gold=False) for one in chosen))
    return replace(record, documents=documents)


def grow(
    record: QARecord,
    others: Sequence[Passage],
    *,
    chunks: int,
    lengths: Lengths,
    count: Callable[[str], int],
    seed: int,
) -> QARecord | None:
    """Make a question's one document longer, by texts of others around it; None if it cannot be.

    The share of what stands before it is drawn, and the same at every length.

    Args:
        record: A question with one document.
        others: What may stand around it; what says an answer is passed over.
        chunks: How many chunks the document is to have.
        lengths: Counts chunks.
        count: Tokens of a text with a line's end.
        seed: Of the choice.
    """
    size, [own] = lengths.chunk_size, record.documents
    draw = random.Random(f"{seed}:{record.id}")
    share, chosen = draw.random(), []
    least = (chunks - 1) * size + size // 8 if chunks > 1 else 0
    most = chunks * size - size // 16
    total = lengths.document(own)
    for one in _around(record, others, draw) if total < least else ():
        more = count(one.text + "\n")
        if total + more > most:
            continue
        chosen.append(one.text)
        total += more
        if total >= least:
            break
    at = round(share * len(chosen))
    text = "\n".join([*chosen[:at], own.text, *chosen[at:]])
    grown = replace(record, documents=(replace(own, text=text),))
    return grown if lengths.chunks(grown) == chunks else None


def by_length(
    records: Sequence[QARecord], lengths: Lengths, bounds: Sequence[int]
) -> dict[str, list[QARecord]]:
    """Sort questions by the chunks of their documents.

    Args:
        records: Questions.
        lengths: Counts chunks.
        bounds: Most chunks of each group, ascending; what is longer goes to the last one.

    Returns:
        Questions by name: ``1``, ``2``, ``3-4``, ..., ``65+``; groups without any are left out.
    """
    names = [
        str(high) if high == low + 1 else f"{low + 1}-{high}"
        for low, high in zip([0, *bounds], bounds, strict=False)
    ]
    names.append(f"{bounds[-1] + 1}+")
    found: dict[str, list[QARecord]] = {name: [] for name in names}
    for record in records:
        chunks = lengths.chunks(record)
        found[names[sum(chunks > bound for bound in bounds)]].append(record)
    return {name: part for name, part in found.items() if part}


def _around(record: QARecord, others: Sequence[Passage], draw: random.Random) -> list[Passage]:
    """Shuffle what may stand beside a question's text: other texts that do not say an answer."""
    own = {one.text for one in record.documents}
    answers = [answer.lower() for answer in record.answers]
    shuffled = draw.sample(list(others), k=len(others))
    return [
        one
        for one in shuffled
        if one.text not in own and not any(answer in one.text.lower() for answer in answers)
    ]
