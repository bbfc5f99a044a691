"""The folder of a demo: documents, and questions whose answers are known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sac_rag.cli.inputs import InputDocument, find_files, read_documents, read_lines
from sac_rag.errors import ConfigError, InputFileError

EMBEDDED = Path(__file__).parents[2] / "embedded" / "atlas"
"""The folder that ships with the package."""
QUESTIONS = "questions.jsonl"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and what to hold its answers against."""

    question: str
    answer: str
    """The right answer."""
    documents: tuple[InputDocument, ...]
    """To be answered from these."""

    @property
    def source(self) -> str:
        """Where the answer stands."""
        first, *others = self.documents
        return f"{len(others) + 1} documents" if others else first.source

    def is_right(self, text: str) -> bool:
        """Compare an answer with the right one; case, spaces and a full stop do not count."""
        return _plain(text) == _plain(self.answer)


def read_demo(docs: str, questions: str | None) -> tuple[list[InputDocument], list[Question]]:
    """Read documents and questions, all of them checked.

    Args:
        docs: A folder, or a file.
        questions: A .jsonl of ``{"question", "answer", "document"}``, the document by its name in
            ``docs``, or a list of names, or left out for all of them; None for
            ``questions.jsonl`` inside ``docs``.

    Raises:
        InputFileError: If something is missing, or a question is about no document.
    """
    path = Path(questions) if questions else Path(docs) / QUESTIONS
    found = [file for file in find_files([docs]).files if not _same(file, path)]
    if not path.is_file():
        raise InputFileError(
            f"there is no file of questions at {path}; give --questions FILE with lines like "
            '{"question": "...", "answer": "...", "document": "file.md"}'
        )
    folder = Path(docs) if Path(docs).is_dir() else Path(docs).parent
    documents = [
        replace(one, source=os.path.relpath(one.source, folder)) for one in read_documents(found)
    ]
    if not documents:
        raise InputFileError(f"{docs} holds questions and no documents; add some")
    by_name = {one.source: one for one in documents}
    asked = [_question(record, where, by_name) for where, record in read_lines(path)]
    if not asked:
        raise InputFileError(f"{path} holds no question; write one a line")
    return documents, asked


def spread(questions: Sequence[Question], number: int) -> list[Question]:
    """Take so many questions, about as many different documents as possible.

    Args:
        questions: All there are.
        number: How many; 0 for all.

    Raises:
        ConfigError: If ``number`` is negative.
    """
    if number < 0:
        raise ConfigError(f"asked for {number} questions; give a positive number, or 0 for all")
    if number == 0 or number >= len(questions):
        return list(questions)
    groups: dict[str, list[Question]] = {}
    for one in questions:
        groups.setdefault(one.source, []).append(one)
    if 1 < number < len(groups):
        firsts = [group[0] for group in groups.values()]
        step = (len(firsts) - 1) / (number - 1)
        return [firsts[round(index * step)] for index in range(number)]
    in_turn = [one for row in zip_longest(*groups.values()) for one in row if one is not None]
    return in_turn[:number]


def _question(record: Any, where: str, by_name: dict[str, InputDocument]) -> Question:
    fields = record if isinstance(record, dict) else {}
    question, answer, name = (fields.get(key) for key in ("question", "answer", "document"))
    if not (isinstance(question, str) and question.strip() and isinstance(answer, str)):
        raise InputFileError(
            f"{where} should hold 'question' and 'answer' as texts, found {record!r}; mend it"
        )
    names = list(by_name) if name is None else name if isinstance(name, list) else [name]
    for one in names:
        if one not in by_name:
            raise InputFileError(
                f"{where} is about the document {one!r}, which is not among "
                f"{', '.join(list(by_name)[:5])}{', ...' if len(by_name) > 5 else ''}; mend it"
            )
    return Question(question=question, answer=answer, documents=tuple(by_name[n] for n in names))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".").strip()


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)
