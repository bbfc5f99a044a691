"""``{"documents": [{"title", "text"} | text], "question", "answers"}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sac_rag.data.forms.plain import Plain

KEYS = frozenset({"documents", "question", "answers"})


def read(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take a record with several documents, in their order."""
    yield Plain(
        documents=record["documents"],
        question=record["question"],
        answers=record["answers"],
        id=record.get("id"),
        source=record.get("source"),
    )
