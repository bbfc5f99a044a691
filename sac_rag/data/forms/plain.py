"""The plain shape that every form is brought to, and its one check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sac_rag.data.records import Passage, QARecord


class BadRecordError(Exception):
    """What is wrong with one record; readers count it, users never see it raised."""


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A record's parts, unchecked."""

    documents: Any
    """Should be a list of texts and ``{"text", "title"}`` mappings."""
    question: Any
    """Should be a text."""
    answers: Any
    """Should be a list of texts."""
    id: Any = None
    """Its name, if it has one."""
    source: Any = None
    """Its set, if it says so."""


def to_record(plain: Plain, *, id: str, source: str) -> QARecord:
    """Check a record.

    Args:
        plain: Its parts.
        id: Its name if it has none.
        source: Its set if it names none.

    Raises:
        BadRecordError: If a part is missing, empty, of another type or not valid Unicode.
    """
    if not isinstance(plain.documents, list | tuple) or not plain.documents:
        raise BadRecordError(f"should have a list of documents, found {kind(plain.documents)}")
    if not isinstance(plain.answers, list | tuple) or not plain.answers:
        raise BadRecordError(f"should have a list of answers, found {kind(plain.answers)}")
    return QARecord(
        id=_name(plain.id, id, what="id"),
        documents=tuple(_passage(one) for one in plain.documents),
        question=text_of(plain.question, what="question"),
        answers=tuple(text_of(one, what="an answer") for one in plain.answers),
        source=_name(plain.source, source, what="source"),
    )


def text_of(value: Any, *, what: str, may_be_empty: bool = False) -> str:
    """Check that a value is a text, of valid Unicode, with something in it."""
    if not isinstance(value, str):
        raise BadRecordError(f"{what} should be a text, found {kind(value)}")
    if not value.strip() and not may_be_empty:
        raise BadRecordError(f"{what} is empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRecordError(
            f"{what} is not valid Unicode: character {error.start} is a lone surrogate"
        ) from error
    return value


def kind(value: Any) -> str:
    """Say what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    return f"a {type(value).__name__}"


def _passage(value: Any) -> Passage:
    if isinstance(value, str):
        return Passage(text=text_of(value, what="a document"))
    if not isinstance(value, Mapping):
        raise BadRecordError(f"a document should be a text or a mapping, found {kind(value)}")
    title, gold = value.get("title"), value.get("gold")
    return Passage(
        text=text_of(value.get("text"), what="a document's text"),
        title=text_of(title, what="a title", may_be_empty=True) or None if title else None,
        gold=gold if isinstance(gold, bool) else None,
    )


def _name(value: Any, default: str, *, what: str) -> str:
    if value is None or value == "":
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRecordError(f"{what} should be a text or a number, found {kind(value)}")
    return text_of(str(value), what=what)
