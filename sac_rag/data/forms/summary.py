"""Summaries: ``{"context", "query", "answers"}``, LongBench's ``input``, GovReport's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sac_rag.data.forms.plain import Plain

KEYS = frozenset({"context", "query", "answers"})
LONGBENCH_KEYS = frozenset({"context", "input", "answers"})
REPORT_KEYS = frozenset({"report", "summary"})

INSTRUCTION = "Write a summary of the text."
"""What is asked where a record brings no query of its own."""


def read(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take a record whose query, if there is one, says what to summarise."""
    yield Plain(
        documents=[record["context"]],
        question=_asked(record["query"]),
        answers=record["answers"],
        id=record.get("id"),
        source=record.get("source"),
    )


def read_longbench(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take a row of LongBench: QMSum has a query in ``input``, GovReport has none."""
    yield Plain(
        documents=[record["context"]],
        question=_asked(record["input"]),
        answers=record["answers"],
        id=record.get("_id"),
        source=record.get("dataset"),
    )


def read_report(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take a row of GovReport: a report and its summary."""
    yield Plain(
        documents=[record["report"]],
        question=INSTRUCTION,
        answers=[record["summary"]],
        id=record.get("id"),
    )


def _asked(query: Any) -> Any:
    nothing = query is None or (isinstance(query, str) and not query.strip())
    return INSTRUCTION if nothing else query
