"""Who answers: one contract, and its three roads through an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sac_rag.data.records import QARecord
from sac_rag.engine import SACEngine
from sac_rag.engine.requests import Request
from sac_rag.errors import ContextOverflowError


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for one question."""

    text: str | None
    """The answer; None if the question did not fit the window."""
    too_long: str | None = None
    """Why it did not fit, if it did not."""
    usage: dict[str, Any] = field(default_factory=dict)
    """Counts, see ``sac_rag.engine.usage.Usage``."""


class Asker(Protocol):
    """Answers questions in batches, greedily."""

    @property
    def identity(self) -> str:
        """What tells its answers from another's: model, adapter, road."""
        ...

    def ask(self, records: Sequence[QARecord], *, max_new_tokens: int) -> list[Reply]:
        """Answer a batch, one reply per record."""
        ...


@dataclass(frozen=True, eq=False)
class EngineAsker:
    """Asks an engine, with requests written in one way."""

    engine: SACEngine
    """Who answers."""
    road: str
    """Name of the way, for the identity."""
    write: Callable[[SACEngine, QARecord], Request]
    """Writes a request."""

    @property
    def identity(self) -> str:
        """Road and fingerprint; the fingerprint covers base, adapter and settings."""
        return f"{self.road} {self.engine.fingerprint}"

    def ask(self, records: Sequence[QARecord], *, max_new_tokens: int) -> list[Reply]:
        """Answer a batch; questions that do not fit the window are told apart."""
        try:
            answers = self.engine.generate(
                [self.write(self.engine, record) for record in records],
                batch_size=len(records),
                max_new_tokens=max_new_tokens,
            )
        except ContextOverflowError as error:
            if len(records) == 1:
                return [Reply(text=None, too_long=str(error))]
            half = len(records) // 2
            first = self.ask(records[:half], max_new_tokens=max_new_tokens)
            return first + self.ask(records[half:], max_new_tokens=max_new_tokens)
        return [Reply(text=one.text, usage=one.usage.to_dict()) for one in answers]


def compressed(engine: SACEngine) -> EngineAsker:
    """Ask with every document as anchors; a query-aware engine makes them for each question."""
    # which of several ratios is in use is no part of the fingerprint
    chosen = f" {engine.ratio}x" if len(engine.ratios) > 1 else ""
    return EngineAsker(engine, f"compressed{chosen}", _with_anchors)


def full(engine: SACEngine) -> EngineAsker:
    """Ask with every document read in full by the frozen model: the ceiling."""
    return EngineAsker(engine, "full", _in_full)


def none(engine: SACEngine) -> EngineAsker:
    """Ask without any document: the floor, what the model knows or guesses."""
    return EngineAsker(engine, "none", _alone)


def _with_anchors(engine: SACEngine, record: QARecord) -> Request:
    return engine.request(record.question, [one.mapping for one in record.documents])


def _in_full(engine: SACEngine, record: QARecord) -> Request:
    documents = [one.mapping for one in record.documents]
    return engine.request(record.question, documents, compress=False)


def _alone(engine: SACEngine, record: QARecord) -> Request:
    return engine.request(record.question, [])


ROADS: dict[str, Callable[[SACEngine], EngineAsker]] = {
    "compressed": compressed,
    "full": full,
    "none": none,
}
"""Ways to ask an engine, by name."""
