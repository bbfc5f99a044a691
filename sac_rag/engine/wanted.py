"""How a document's anchors are wanted, and the names that makes: key, fingerprint.

An any-ratio adapter is one compressor: its caches join whatever their ratio, so the ratio is part
of the store's key and not of the fingerprint. In query-aware mode a cache serves one question
alone: the question is part of both, so that neither the store nor a caller can mix two.
"""

from __future__ import annotations

from collections.abc import Sequence

from sac_rag.adapter import Adapter
from sac_rag.engine.requests import Document, Stored, check_question
from sac_rag.errors import ConfigError
from sac_rag.store import AnchorStore, StoredText
from sac_rag.tokens import Tokens


class Wants:
    """Reads what is asked of one adapter.

    Args:
        adapter: Its ratios, and whether it reads questions.
        tokens: The tokenizer.
        store: Whose keys are given.
    """

    def __init__(self, adapter: Adapter, *, tokens: Tokens, store: AnchorStore) -> None:
        self._adapter = adapter
        self._tokens = tokens
        self._store = store

    @property
    def query_aware(self) -> bool:
        """Whether documents are compressed for one question."""
        return self._adapter.config.query_aware

    def question_ids(self, question: str | None) -> tuple[int, ...]:
        """Write a question as the encoder reads it behind each chunk; nothing without that mode.

        Raises:
            ConfigError: If a query-aware adapter gets none, or another adapter gets one.
            EmptyInputError: If it is empty or only whitespace.
        """
        if self.query_aware and question is None:
            raise ConfigError(
                "this adapter is query-aware: it compresses a document for one question, and none "
                "came with the document; give it (compress(..., question=...), answer, or "
                "Request(question=...)), or use an adapter without query_aware"
            )
        if not self.query_aware and question is not None:
            raise ConfigError(
                f"asked to compress for the question {question[:60]!r}: this adapter is not "
                "query-aware and would not read it; leave the question out, or use an adapter "
                "that was trained with query_aware: true"
            )
        if question is None:
            return ()
        written = self._adapter.config.prompt.question(check_question(question))
        return tuple(self._tokens.encode(written))

    def ratio(self, document: Document) -> int:
        """Give the tokens per anchor: the document's own wish, or the ratio in use.

        Raises:
            ConfigError: If the adapter does not serve it.
        """
        compress = self._adapter.config.compress
        return compress.ratio if document.ratio is None else compress.at(document.ratio).ratio

    def fingerprint(self, question_ids: Sequence[int] = ()) -> str:
        """Give the fingerprint that the caches carry."""
        return self._adapter.method.fingerprint_of(question_ids)

    def key(self, document: Document, question_ids: Sequence[int] = ()) -> str:
        """Give the store's key: text, ratio and question are all part of it."""
        config, ratio = self._adapter.config, self.ratio(document)
        return self._store.key_for(
            fingerprint=self.fingerprint(question_ids),
            text=config.prompt.document(document.text, document.title),
            seen=f"ratio={ratio}" if config.compress.ratios else "",
        )

    def read_back(self, kept: StoredText, key: str, question_ids: Sequence[int] = ()) -> Document:
        """Give a kept text as the document that was asked for: at the ratio that makes its key."""
        usual = Document(text=kept.text, title=kept.title)
        for ratio in self._adapter.config.compress.served:
            document = Document(text=kept.text, title=kept.title, ratio=ratio)
            if self.key(document, question_ids) == key:
                return document
        return usual

    def asked(self, document: object, question: str | None) -> str | None:
        """Give the question that a document's anchors are for; a stored one brings its own.

        Raises:
            ConfigError: If a query-aware adapter finds none with a handle, or a different one.
        """
        if not self.query_aware or not isinstance(document, Stored):
            return question
        if document.question is None:
            raise ConfigError(
                f"this adapter is query-aware, and the handle of document {document.key} names no "
                "question: an adapter without query_aware issued it, or the store lost its text; "
                "compress the document again, with its question"
            )
        if question not in (None, document.question):
            raise ConfigError(
                f"document {document.key} was compressed for the question "
                f"{document.question[:60]!r}, and {question[:60]!r} is asked: this adapter is "
                "query-aware, its anchors answer one question alone; compress the document again, "
                "for the new question"
            )
        return document.question
