"""The MRQA form: a header line, then ``{"context", "qas": [{"qid", "question", "answers"}]}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sac_rag.data.forms.plain import BadRecordError, Plain, kind

KEYS = frozenset({"context", "qas"})
HEADER_KEYS = frozenset({"header"})


def read(record: Mapping[str, Any]) -> Iterator[Plain]:
    """Take each question about a context; one that is broken does not take the others along.

    Raises:
        BadRecordError: If there is no list of questions.
    """
    questions = record["qas"]
    if not isinstance(questions, list) or not questions:
        raise BadRecordError(f"'qas' should be a list of questions, found {kind(questions)}")
    for one in questions:
        one = one if isinstance(one, Mapping) else {}
        yield Plain(
            documents=[record["context"]],
            question=one.get("question"),
            answers=one.get("answers"),
            id=one.get("qid", one.get("id")),
        )


def dataset_of(record: Mapping[str, Any]) -> str | None:
    """Tell the set that a header line names."""
    header = record["header"]
    name = header.get("dataset") if isinstance(header, Mapping) else None
    return name if isinstance(name, str) and name else None
