"""What is read: questions with their documents, and plain texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A document of a question."""

    text: str
    """What it says."""
    title: str | None = None
    """Written before the text, if there is one."""
    gold: bool | None = None
    """Whether the answer stands in it; None where the data does not say."""

    @property
    def mapping(self) -> dict[str, str]:
        """The document as the engine takes it."""
        return {"text": self.text} | ({"title": self.title} if self.title else {})


@dataclass(frozen=True, kw_only=True)
class QARecord:
    """A question about documents, with the answers that count as right."""

    id: str
    """Its own name, else file and line."""
    documents: tuple[Passage, ...]
    """What it is asked about; at least one."""
    question: str
    """What is asked; for a summary, the instruction."""
    answers: tuple[str, ...]
    """References; the first is what training teaches and the paper scores against."""
    source: str
    """The set it belongs to: the record's own word, else its file."""


@dataclass(frozen=True, kw_only=True)
class TextRecord:
    """A plain text."""

    id: str
    """Its own name, else file and line."""
    text: str
    """What it says; may be empty, which its length then tells."""
