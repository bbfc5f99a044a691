"""Documents to anchor caches: from the store where it has them, else encoded in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.encoding import Compressed, Encoder, Missing
from sac_rag.engine.requests import Document, Stored
from sac_rag.engine.wanted import Wants
from sac_rag.errors import (
    AnchorNotFoundError,
    CorruptEntryError,
    IncompatibleCacheError,
)
from sac_rag.layout import max_tokens_of_anchors, num_anchors_of_text
from sac_rag.store import AnchorStore
from sac_rag.tokens import Tokens

logger = logging.getLogger(__name__)


class Compressor:
    """Compresses documents with one adapter into one store.

    Args:
        adapter: Method, backbone and prompt format.
        tokens: The tokenizer.
        store: Where anchors are kept.
    """

    def __init__(self, adapter: Adapter, *, tokens: Tokens, store: AnchorStore) -> None:
        self.adapter = adapter
        self.tokens = tokens
        self.store = store
        self.wants = Wants(adapter, tokens=tokens, store=store)
        self._encoder = Encoder(adapter, store=store)

    def compress(
        self,
        documents: Sequence[Document | Stored | AnchorCache],
        *,
        questions: Sequence[str | None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Compressed]:
        """Give each document's anchors, in order; equal documents are encoded once.

        Args:
            documents: Texts, or what stands for them.
            questions: What each is compressed for, in query-aware mode; None without. What is
                stored brings its own.
            cancel: When set, encoding stops at the next batch.

        Raises:
            ConfigError: If a question is missing, or not read by this adapter, or a document's
                ratio is not served.
            AnchorNotFoundError: If a stored document is gone, text and all.
            IncompatibleCacheError: If the store holds anchors of another model under a key.
            GenerationCancelledError: If ``cancel`` was set meanwhile.
        """
        found: dict[str, Compressed] = {}
        missing: dict[str, Missing] = {}
        keys: list[str | None] = []
        asked = [None] * len(documents) if questions is None else questions
        for document, question in zip(documents, asked, strict=True):
            question = self.wants.asked(document, question)
            question_ids = self.wants.question_ids(question)
            if isinstance(document, AnchorCache):
                self._check_own(document, question_ids)
            key = None if isinstance(document, AnchorCache) else self._key(document, question_ids)
            keys.append(key)
            if key is None or key in found or key in missing:
                continue
            loaded = self._load(key, question_ids)
            if loaded is not None:
                found[key] = loaded
            elif not isinstance(document, AnchorCache):
                text = self._text_of(document, question_ids)
                missing[key] = Missing(
                    key=key,
                    document=text,
                    seen_ids=self.seen_ids(text),
                    ratio=self.wants.ratio(text),
                    question_ids=question_ids,
                    question=question,
                )
        found.update(self._encoder.encode(list(missing.values()), cancel=cancel))
        return [
            Compressed(cache=document) if isinstance(document, AnchorCache) else found[str(key)]
            for document, key in zip(documents, keys, strict=True)
        ]

    def _check_own(self, cache: AnchorCache, question_ids: tuple[int, ...]) -> None:
        own = self.wants.fingerprint(question_ids)
        if cache.fingerprint != own:
            raise IncompatibleCacheError(
                f"an AnchorCache comes from compressor {cache.fingerprint[:12]}, this engine is "
                f"{own[:12]}: another model, adapter, precision or "
                f"{'question' if question_ids else 'setting'} made it; compress the text again "
                f"with this engine{' and question' if question_ids else ''}"
            )

    def key_of(self, document: Document | Stored, question: str | None = None) -> str:
        """Give the key under which the store keeps, or would keep, a document's anchors."""
        question = self.wants.asked(document, question)
        return self._key(document, self.wants.question_ids(question))

    def _key(self, document: Document | Stored, question_ids: tuple[int, ...]) -> str:
        if isinstance(document, Stored):
            return document.key
        return self.wants.key(document, question_ids)

    def has(self, document: Document | Stored | AnchorCache, question: str | None = None) -> bool:
        """Say whether the store has a document's anchors, without reading them."""
        if isinstance(document, AnchorCache):
            return False
        return self.key_of(document, question) in self.store

    def count_anchors(self, document: Document | Stored | AnchorCache) -> int:
        """Count the anchors that stand, or would stand, for a document."""
        if isinstance(document, AnchorCache):
            return len(document)
        if isinstance(document, Stored):
            return document.num_anchors
        chunk_size = self.adapter.config.compress.chunk_size
        ratio = self.wants.ratio(document)
        return num_anchors_of_text(self.count_tokens(document), ratio=ratio, chunk_size=chunk_size)

    def count_positions(self, document: Document | Stored | AnchorCache) -> int:
        """Count the positions of the window that a document takes; reads no tensor."""
        if isinstance(document, AnchorCache):
            return document.span
        if isinstance(document, Document):
            return self.count_tokens(document)
        entry = self.store.entry(document.key)
        if entry is not None and entry.num_tokens is not None:
            return entry.num_tokens
        kept = self.store.text_of(document.key)
        if kept is not None:
            return self.count_tokens(Document(text=kept.text, title=kept.title))
        compress = self.adapter.config.compress
        return max_tokens_of_anchors(
            document.num_anchors, ratio=max(compress.served), chunk_size=compress.chunk_size
        )

    def count_tokens(self, document: Document) -> int:
        """Count what the encoder reads of a document, BOS and prefix included."""
        return len(self.seen_ids(document))

    def seen_ids(self, document: Document) -> list[int]:
        """Write a document as the encoder reads it: BOS, prefix, title, text."""
        prompt = self.adapter.config.prompt
        return prompt.seen_ids(document.text, document.title, tokens=self.tokens)

    def _load(self, key: str, question_ids: tuple[int, ...]) -> Compressed | None:
        began = time.perf_counter()
        try:
            cache = self.store.get(key, fingerprint=self.wants.fingerprint(question_ids))
        except CorruptEntryError as error:
            logger.warning("a stored entry is damaged and will be encoded again: %s", error)
            return None
        if cache is None:
            return None
        cache = cache.to(self.adapter.backbone.device)
        return Compressed(cache=cache, key=key, load_s=time.perf_counter() - began)

    def _text_of(self, document: Document | Stored, question_ids: tuple[int, ...]) -> Document:
        if isinstance(document, Document):
            return document
        kept = self.store.text_of(document.key)
        if kept is None:
            entry = self.store.entry(document.key)
            coarse = f"anchors as fine as {self.store.codec}" if entry else "its anchors"
            raise AnchorNotFoundError(
                f"the handle of document {document.key} is genuine, but the store holds neither "
                f"{coarse} nor its text any more; compress the document again"
            )
        return self.wants.read_back(kept, document.key, question_ids)


__all__ = ["Compressed", "Compressor"]
