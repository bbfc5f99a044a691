"""Handles given out and taken back: documents inside a prompt's text."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.compressor import Compressor
from sac_rag.engine.requests import Document, Segment, Stored
from sac_rag.errors import ConfigError
from sac_rag.handles import Handle, contains_handle, issue, split


class HandleDesk:
    """Issues and resolves the handles of one store.

    Args:
        compressor: Compresses into that store.
    """

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._store = compressor.store

    def issue(
        self,
        documents: Sequence[Document | Stored | AnchorCache],
        *,
        question: str | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Handle]:
        """Compress and store documents; give a handle for each (see ``SACEngine.issue``).

        What the store has is signed without being read: should it prove damaged when a question
        needs it, it is encoded again from the kept text.
        """
        missing = [one for one in documents if not self._compressor.has(one, question)]
        questions = [question] * len(missing)
        for one in self._compressor.compress(missing, questions=questions, cancel=cancel):
            if one.write_error is not None:
                raise one.write_error
        return [self._sign(one, question) for one in documents]

    def key_of(self, document: Document | Stored | AnchorCache, question: str | None = None) -> str:
        """Give a document's key in the store (see ``SACEngine.key_of``).

        Raises:
            ConfigError: If it is an ``AnchorCache``, which has no text.
        """
        if isinstance(document, AnchorCache):
            raise ConfigError("an AnchorCache has no text to store; give the document's text")
        return self._compressor.key_of(document, question)

    def _sign(self, document: Document | Stored | AnchorCache, question: str | None) -> Handle:
        key = self.key_of(document, question)
        num_anchors = self._compressor.count_anchors(document)
        namespace = self._store.namespace
        text = issue(self._store.secret, namespace=namespace, key=key, num_anchors=num_anchors)
        return Handle(key=key, num_anchors=num_anchors, text=text)

    def resolve(self, text: str) -> list[Segment]:
        """Read a prompt with handles as segments; a document named twice stands once.

        White space before a handle only parted documents; anchors need no parting, so it goes.
        """
        segments: list[Segment] = []
        named: set[str] = set()
        for part in self._split(text):
            if not isinstance(part, Handle):
                segments.append(part)
                continue
            if segments and isinstance(segments[-1], str) and not segments[-1].strip():
                segments.pop()
            if part.key not in named:
                named.add(part.key)
                segments.append(self._stored(part))
        return segments

    def _stored(self, handle: Handle) -> Stored:
        """Give what a handle stands for; in query-aware mode with the question it serves."""
        aware = self._compressor.wants.query_aware
        kept = self._store.text_of(handle.key) if aware else None
        question = None if kept is None else kept.question
        return Stored(key=handle.key, num_anchors=handle.num_anchors, question=question)

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens; a handle in it counts as its anchors."""
        return sum(
            part.num_anchors if isinstance(part, Handle) else self._compressor.tokens.count(part)
            for part in self._split(text)
        )

    def _split(self, text: str) -> list[str | Handle]:
        if not contains_handle(text):
            return [text]
        return split(text, secret=self._store.secret, namespace=self._store.namespace)
