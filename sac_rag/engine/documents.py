"""The engine's calls for documents alone: anchors, and handles that stand for them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.compressor import Compressed
from sac_rag.engine.facts import Parts
from sac_rag.engine.requests import Document, DocumentLike, Segment, Stored, as_segment
from sac_rag.handles import Handle


class DocumentCalls:
    """Compresses documents, and gives handles out and takes them back."""

    def _open(self) -> Parts:
        raise NotImplementedError

    def compress(
        self, documents: DocumentLike | Sequence[DocumentLike], *, question: str | None = None
    ) -> AnchorCache | list[AnchorCache]:
        """Give the anchors of one document, or a list for several.

        Args:
            documents: Texts, mappings or ``Document``s; ``Document(ratio=...)`` for another of an
                any-ratio adapter's ratios. Caches of all its ratios join.
            question: What they are compressed for: a query-aware adapter needs it, no other
                reads it. Caches of two questions do not join.

        Raises:
            ConfigError: If a question is missing, or not read by this adapter.
            EmptyInputError: If a document holds no text.
            InvalidTextError: If a document is not valid Unicode.
        """
        if isinstance(documents, str | Mapping | Document | Stored | AnchorCache):
            return self.compress_each([documents], question=question)[0].cache
        return [one.cache for one in self.compress_each(documents, question=question)]

    def compress_each(
        self, documents: Sequence[DocumentLike], *, question: str | None = None
    ) -> list[Compressed]:
        """Compress documents; tell of each its key, whether it was encoded now, and the time."""
        segments = [as_segment(document) for document in documents]
        questions = [question] * len(segments)
        return self._open().compressor.compress(segments, questions=questions)

    def key_of(self, document: DocumentLike, *, question: str | None = None) -> str:
        """Give the key under which the store keeps, or would keep, a document's anchors.

        Raises:
            ConfigError: If an ``AnchorCache`` is given, which has no key in a store.
        """
        return self._open().desk.key_of(as_segment(document), question)

    def issue(
        self,
        documents: Sequence[DocumentLike],
        *,
        question: str | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Handle]:
        """Compress and store documents, until ``cancel`` is set; give a handle for each.

        Args:
            documents: As ``compress`` takes them, and what ``resolve`` gave.
            question: What they are compressed for: a query-aware adapter needs it, no other reads
                it. Such a handle serves that question alone, which the store keeps beside the
                text.
            cancel: When set, compressing stops at the next batch.

        Raises:
            StoreWriteError: If anchors could not be stored: a handle would lead nowhere.
            ConfigError: If an ``AnchorCache`` is given, which has no key in a store, or a
                question is missing, another than a handle's, or not read by this adapter.
        """
        segments = [as_segment(one) for one in documents]
        return self._open().desk.issue(segments, question=question, cancel=cancel)

    def resolve(self, text: str) -> list[Segment]:
        """Read a prompt with handles as segments; a document named twice stands once.

        Raises:
            InvalidHandleError: If a handle is cut or malformed.
            HandleForgeryError: If one was not issued by this store and namespace.
        """
        return self._open().desk.resolve(text)
