"""What a demo measures: compressing each document, and each question on three roads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from sac_rag.cli.demo.data import Question
from sac_rag.cli.inputs import InputDocument
from sac_rag.errors import ContextOverflowError

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine, Usage

COLD, WARM, FULL = "anchors, cold", "anchors, warm", "full context"
ROADS = (COLD, WARM, FULL)
"""Cold: not in the store, encoded first. Warm: from the store. Full: every token, every time."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """One document, compressed."""

    document: str
    tokens: int
    anchors: int
    anchor_bytes: int
    full_bytes: int
    """Keys and values of all its tokens, in bytes."""
    encode_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One answer on one road."""

    road: str
    text: str
    right: bool
    ttft_s: float
    """From the call to the first text seen here, in seconds."""
    usage: Usage | None
    """None if it did not fit the window."""
    error: str | None = None
    """Why there is no answer."""

    def to_dict(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        usage = None if self.usage is None else self.usage.to_dict()
        return {
            "road": self.road,
            "answer": self.text,
            "right": self.right,
            "ttft_s": self.ttft_s,
            "error": self.error,
            "usage": usage,
        }


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All questions together; medians and sums over those that every road answered."""

    questions: int
    right: dict[str, int]
    """Right answers, by road."""
    median_ttft_s: dict[str, float | None]
    """Seconds to the first text, by road."""
    cache_bytes: dict[str, int]
    """What the decoder started from, summed, by road."""

    @property
    def bytes_ratio(self) -> float | None:
        """How many times larger the cache is in full context."""
        return self.cache_bytes[FULL] / self.cache_bytes[WARM] if self.cache_bytes[WARM] else None

    @property
    def speedup(self) -> float | None:
        """How many times later the first text comes in full context than from warm anchors."""
        warm, full = self.median_ttft_s[WARM], self.median_ttft_s[FULL]
        return full / warm if warm and full else None

    def to_dict(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return {**asdict(self), "bytes_ratio": self.bytes_ratio, "speedup": self.speedup}


def warm_up(engine: SACEngine, question: Question) -> None:
    """Run both roads once, so that the first measured call does not pay for the libraries' own."""
    texts = _texts(question)
    for compress in (True, False):
        try:
            engine.answer(question.question, texts, 4, compress=compress)
        except ContextOverflowError:  # said where it is measured
            continue
    forget(engine, question.documents)


def compress_one(engine: SACEngine, document: InputDocument) -> Compression:
    """Compress a document that is not in the store."""
    began = time.perf_counter()
    [made] = engine.compress_each([document.mapping])
    took_s = time.perf_counter() - began
    cache = made.cache
    return Compression(
        document=document.source,
        tokens=cache.num_tokens,
        anchors=len(cache),
        anchor_bytes=cache.nbytes,
        full_bytes=cache.nbytes // len(cache) * cache.num_tokens,
        encode_s=took_s,
    )


def forget(engine: SACEngine, documents: Sequence[InputDocument]) -> None:
    """Take documents out of the store, so that the next call finds them cold."""
    for one in engine.compress_each([document.mapping for document in documents]):
        engine.store.delete(str(one.key))


def run(
    engine: SACEngine,
    question: Question,
    road: str,
    *,
    max_new_tokens: int,
    on_piece: Callable[[str], None],
) -> Run:
    """Answer a question on one road, piece by piece."""
    if road == COLD:
        forget(engine, question.documents)
    began = time.perf_counter()
    first_at: float | None = None
    try:
        with engine.stream(
            question.question, _texts(question), max_new_tokens, compress=road != FULL
        ) as pieces:
            for piece in pieces:
                first_at = first_at or time.perf_counter()
                on_piece(piece)
    except ContextOverflowError as error:
        reason = f"needs {error.requested:,} positions of {error.available:,}"
        return Run(road=road, text="", right=False, ttft_s=0.0, usage=None, error=reason)
    ttft_s = (first_at or time.perf_counter()) - began
    answer = pieces.answer
    assert answer is not None
    return Run(
        road=road,
        text=answer.text,
        right=question.is_right(answer.text),
        ttft_s=ttft_s,
        usage=answer.usage,
    )


def summarize(runs: Sequence[Sequence[Run]]) -> Summary:
    """Sum up the questions, each with its runs in the order of ``ROADS``."""
    by_road = {road: [row[index] for row in runs] for index, road in enumerate(ROADS)}
    whole = [row for row in runs if all(one.usage for one in row)]
    compared = {road: [row[index] for row in whole] for index, road in enumerate(ROADS)}
    return Summary(
        questions=len(runs),
        right={road: sum(one.right for one in row) for road, row in by_road.items()},
        median_ttft_s={
            road: median(one.ttft_s for one in row) if row else None
            for road, row in compared.items()
        },
        cache_bytes={
            road: sum(one.usage.cache_bytes for one in row if one.usage)
            for road, row in compared.items()
        },
    )


def _texts(question: Question) -> list[dict[str, str]]:
    return [document.mapping for document in question.documents]
