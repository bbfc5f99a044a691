"""``{"context", "question", "answers"}``, and the rows of MRQA on the hub (``qid``, ``subset``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sac_rag.data.forms.plain import Plain

KEYS = frozenset({"context", "question", "answers"})


def read(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take a record with one context; other keys, a title among them, are not read."""
    yield Plain(
        documents=[record["context"]],
        question=record["question"],
        answers=record["answers"],
        id=record.get("id", record.get("qid")),
        source=record.get("source", record.get("subset")),
    )
