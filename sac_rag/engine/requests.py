"""What is asked: a list of segments, text and documents, in any mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import ConfigError, EmptyInputError


@dataclass(frozen=True, kw_only=True)
class Document:
    """A retrieved text."""

    text: str
    """What it says; data, never parsed for handles or special tokens."""
    title: str | None = None
    """Written before the text, if given."""
    compressed: bool = True
    """Whether anchors stand for it; False lets the decoder read it in full."""
    ratio: int | None = None
    """Tokens per anchor, of those that the adapter serves; None for the engine's."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A document that the store knows, as a handle named it."""

    key: str
    """Its key in the store."""
    num_anchors: int
    """Anchors that stand for it."""
    question: str | None = None
    """What it was compressed for, by a query-aware adapter; None for any question."""


@dataclass(frozen=True, kw_only=True)
class ChatText:
    """Text rendered from a chat template: its special tokens count as such."""

    text: str
    """What the template wrote."""


Segment = str | ChatText | Document | Stored | AnchorCache
DocumentLike = str | Mapping[str, str] | Document | Stored | AnchorCache


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt: anchors are laid before all text, in order of appearance."""

    segments: Sequence[Segment]
    """Texts, documents and anchor caches."""
    question: str | None = None
    """What is asked: a query-aware adapter compresses the documents for it, others do not read it
    here. The prompt's text says it again for the decoder. ``Stored`` documents bring their own."""


def as_segment(
    document: DocumentLike, *, compressed: bool = True
) -> Document | Stored | AnchorCache:
    """Read a document in any of the forms that users have.

    Args:
        document: A text, a ``{"text", "title"}`` mapping, a ``Document`` or an ``AnchorCache``.
        compressed: False asks for the document in full.

    Raises:
        EmptyInputError: If it holds no text, or only whitespace.
        ConfigError: If it is something else, or anchors are asked for in full.
        TypeError: If it is of no known form.
    """
    if isinstance(document, AnchorCache | Stored):
        if not compressed:
            raise ConfigError(
                "compress=False reads documents in full, and an AnchorCache has no text any more; "
                "give the text instead"
            )
        return document
    if isinstance(document, str):
        document = Document(text=document, compressed=compressed)
    elif isinstance(document, Mapping):
        document = _from_mapping(document, compressed=compressed)
    elif isinstance(document, Document):
        document = replace(document, compressed=compressed and document.compressed)
    else:
        raise TypeError(
            f"a document is a str, a mapping with 'text' and perhaps 'title', or an AnchorCache, "
            f"got {type(document).__name__}"
        )
    if not document.text.strip():
        raise EmptyInputError(
            f"a document holds no text ({len(document.text)} characters of whitespace, "
            f"title {document.title!r}); leave it out"
        )
    return document


def _from_mapping(document: Mapping[str, str], *, compressed: bool) -> Document:
    unknown = sorted(set(document) - {"text", "title"})
    if "text" not in document or unknown:
        raise ConfigError(
            "a document mapping has the key 'text' and perhaps 'title', got "
            f"{sorted(document)}; rename or leave out the others"
        )
    return Document(text=document["text"], title=document.get("title"), compressed=compressed)


def check_question(question: str) -> str:
    """Refuse a question without text.

    Raises:
        EmptyInputError: If it is empty or only whitespace.
    """
    if not question.strip():
        raise EmptyInputError("the question is empty; ask something")
    return question
