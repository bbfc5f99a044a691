"""The texts around documents and questions. Data, kept in an adapter's config.

The default is the paper's fine-tuning format (arXiv:2510.08907, released code): what stands before
the context is compressed with it; the question part is plain text after the anchors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sac_rag.errors import ConfigError


class Encoder(Protocol):
    """What turns text into token ids; see ``sac_rag.tokens.Tokens``."""

    bos_id: int | None

    def encode(self, text: str) -> list[int]:
        """Turn text into ids, without special tokens."""
        ...


@dataclass(frozen=True, kw_only=True)
class PromptFormat:
    """How a document and a question are written for the model."""

    context_prefix: str = "### Context:\n"
    """Stands before each document's text, inside what is compressed."""
    question_template: str = "\n### Question:\n{question}\n### Answer:\n"
    """The plain text behind the anchors; holds ``{question}`` once."""
    title_template: str = "{title}\n{text}"
    """How a titled document is written."""
    document_separator: str = "\n"
    """Stands between documents that are read in full."""

    def __post_init__(self) -> None:
        if self.question_template.count("{question}") != 1:
            raise ConfigError(
                "question_template must hold {question} exactly once, got "
                f"{self.question_template!r}; put it where the question belongs"
            )

    def question(self, question: str) -> str:
        """Write the question part.

        >>> PromptFormat().question("Who?")
        '\\n### Question:\\nWho?\\n### Answer:\\n'
        """
        # not str.format: the question may hold braces
        return self.question_template.replace("{question}", question)

    def document(self, text: str, title: str | None = None) -> str:
        """Write a document as the encoder reads it.

        >>> PromptFormat().document("It rains.", "Weather")
        '### Context:\\nWeather\\nIt rains.'
        """
        if title:
            head, _, tail = self.title_template.partition("{text}")
            text = head.replace("{title}", title) + text + tail.replace("{title}", title)
        return self.context_prefix + text

    def seen_ids(self, text: str, title: str | None = None, *, tokens: Encoder) -> list[int]:
        """Write a document as the encoder reads it: BOS, prefix, title, text.

        The prefix is tokenised apart from what follows, in training and in use, so that no token
        straddles the two.

        Args:
            text: The document.
            title: Its title, if it has one.
            tokens: The tokenizer.
        """
        bos = [] if tokens.bos_id is None else [tokens.bos_id]
        prefix = tokens.encode(self.context_prefix) if self.context_prefix else []
        return bos + prefix + tokens.encode(self.document(text, title)[len(self.context_prefix) :])
