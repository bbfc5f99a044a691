"""Documents to anchor caches: from the store where it has them, else encoded in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache, cat
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.engine.requests import Document, Stored
from sac_rag.engine.wanted import Wants
from sac_rag.errors import (
    AnchorNotFoundError,
    CorruptEntryError,
    GenerationCancelledError,
    IncompatibleCacheError,
    StoreWriteError,
)
from sac_rag.layout import num_anchors_of_text
from sac_rag.store import AnchorStore
from sac_rag.tokens import Tokens

logger = logging.getLogger(__name__)

BATCH_TOKENS = 8 * 510
"""Tokens encoded in one pass, padding included: bounds memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """A document's anchors and how they came."""

    cache: AnchorCache
    """The anchors, standing alone, from position 1."""
    key: str | None = None
    """Their key in the store; None for a cache that the caller gave."""
    encoded: bool = False
    """Whether they had to be encoded now."""
    encode_s: float = 0.0
    """Seconds of encoding, a document's share of its batch by tokens."""
    load_s: float = 0.0
    """Seconds of reading the store."""
    write_error: StoreWriteError | None = None
    """Why the anchors are not in the store, if they are not."""


@dataclass(frozen=True, kw_only=True)
class _Missing:
    key: str
    document: Document
    question_ids: tuple[int, ...]


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
            questions: What each is compressed for, in query-aware mode; None without.
            cancel: When set, encoding stops at the next batch.

        Raises:
            ConfigError: If a question is missing, or not read by this adapter, or a document's
                ratio is not served.
            AnchorNotFoundError: If a stored document is gone, text and all.
            IncompatibleCacheError: If the store holds anchors of another model under a key.
            GenerationCancelledError: If ``cancel`` was set meanwhile.
        """
        found: dict[str, Compressed] = {}
        missing: dict[str, _Missing] = {}
        keys: list[str | None] = []
        asked = [None] * len(documents) if questions is None else questions
        for document, question in zip(documents, asked, strict=True):
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
                text = self._text_of(document)
                missing[key] = _Missing(key=key, document=text, question_ids=question_ids)
        found.update(self._encode(list(missing.values()), cancel))
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
        return self._key(document, self.wants.question_ids(question))

    def _key(self, document: Document | Stored, question_ids: tuple[int, ...]) -> str:
        if isinstance(document, Stored):
            self.wants.refuse_handles()
            return document.key
        return self.wants.key(document, question_ids)

    def has(self, document: Document | Stored | AnchorCache) -> bool:
        """Say whether the store has a document's anchors, without reading them."""
        return not isinstance(document, AnchorCache) and self.key_of(document) in self.store

    def count_anchors(self, document: Document | Stored | AnchorCache) -> int:
        """Count the anchors that stand, or would stand, for a document."""
        if isinstance(document, AnchorCache):
            return len(document)
        if isinstance(document, Stored):
            return document.num_anchors
        chunk_size = self.adapter.config.compress.chunk_size
        ratio = self.wants.ratio(document)
        return num_anchors_of_text(self.count_tokens(document), ratio=ratio, chunk_size=chunk_size)

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

    def _text_of(self, document: Document | Stored) -> Document:
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
        return self.wants.read_back(kept, document.key)

    def _encode(
        self, missing: list[_Missing], cancel: threading.Event | None
    ) -> dict[str, Compressed]:
        chunk_size = self.adapter.config.compress.chunk_size
        chunks: list[tuple[str, Chunk]] = [
            (one.key, chunk)
            for one in missing
            for chunk in split_chunks(
                self.seen_ids(one.document),
                chunk_size=chunk_size,
                ratio=self.wants.ratio(one.document),
                question_ids=one.question_ids,
            )
        ]
        parts: dict[str, list[tuple[int, AnchorCache]]] = {one.key: [] for one in missing}
        seconds = dict.fromkeys(parts, 0.0)
        for batch in _batches(chunks):
            if cancel is not None and cancel.is_set():
                raise GenerationCancelledError("the caller stopped while documents were encoded")
            began = time.perf_counter()
            with torch.inference_mode():
                caches = self.adapter.method.compress_chunks([chunk for _, chunk in batch])
            per_token = (time.perf_counter() - began) / sum(len(chunk) for _, chunk in batch)
            for (key, chunk), cache in zip(batch, caches, strict=True):
                parts[key].append((chunk.start, cache))
                seconds[key] += per_token * len(chunk)
        return {one.key: self._keep(one, parts[one.key], seconds[one.key]) for one in missing}

    def _keep(
        self, one: _Missing, parts: list[tuple[int, AnchorCache]], seconds: float
    ) -> Compressed:
        cache = cat([part for _, part in sorted(parts, key=lambda pair: pair[0])])
        made = Compressed(cache=cache, key=one.key, encoded=True, encode_s=seconds)
        try:
            kept = self.store.put(
                one.key,
                cache,
                text=one.document.text,
                title=one.document.title,
                inv_freq=self.adapter.backbone.inv_freq,
            )
            # as a later question will find it: the first answer must not be a better one
            made = replace(made, cache=kept)
        except StoreWriteError as error:
            logger.warning("anchors could not be stored and will be encoded again: %s", error)
            made = replace(made, write_error=error)
        return made


def _batches(chunks: list[tuple[str, Chunk]]) -> list[list[tuple[str, Chunk]]]:
    """Group chunks of like length, so that little is padding, within the token budget."""
    batches: list[list[tuple[str, Chunk]]] = []
    for item in sorted(chunks, key=lambda pair: -pair[1].num_read):
        room = BATCH_TOKENS // batches[-1][0][1].num_read if batches else 0
        if batches and len(batches[-1]) < room:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches
