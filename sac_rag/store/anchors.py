"""The store that the engine uses: anchors and texts under the hash of what made them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from sac_rag.errors import (
    ConfigError,
    CorruptEntryError,
    IncompatibleCacheError,
    StoreFormatError,
)
from sac_rag.store.base import ByteStore, EntryStat
from sac_rag.store.clean import collect
from sac_rag.store.records import (
    EntryCheck,
    GCReport,
    StoredText,
    StoreEntry,
    StoreStats,
    anchor_header,
)

if TYPE_CHECKING:
    from sac_rag.anchor_cache import AnchorCache

ANCHORS = "anchors/"
TEXT = "text/"
"""Begins the keys of texts. Small, and what lost anchors are made from again: evict them last."""

SECRET_VARIABLE = "SAC_RAG_HANDLE_KEY"
_MIN_SECRET_BYTES = 16
_PEEK_BYTES = 8192


class AnchorStore:
    """Keeps anchors, and the texts they stand for, in any place that keeps bytes.

    Safe to share between threads. Entries of all namespaces lie side by side: the namespace is in
    the key and in the signature of every handle, so one tenant can neither hit nor name another's.

    Args:
        backend: The place.
        namespace: Whose documents these are.
    """

    def __init__(self, backend: ByteStore, *, namespace: str = "default") -> None:
        self.backend = backend
        self.namespace = namespace
        self._lock = Lock()
        self._hits = self._misses = self._corrupt = 0

    def __repr__(self) -> str:
        return f"AnchorStore({self.backend!r}, namespace={self.namespace!r})"

    def __enter__(self) -> AnchorStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(1 for _ in self.keys())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.backend.stat(ANCHORS + key) is not None

    def key_for(self, *, fingerprint: str, text: str, seen: str = "") -> str:
        """Return the key of a text's anchors: 32 hex digits.

        Args:
            fingerprint: Of the compressor.
            text: The document.
            seen: Whatever else the encoder saw, such as the words it puts before a text.
        """
        digest = sha256()
        for field in (fingerprint, self.namespace, text, seen):
            # Lengths keep ("ab", "c") and ("a", "bc") apart.
            encoded = field.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()[:32]

    def get(self, key: str, *, fingerprint: str | None = None) -> AnchorCache | None:
        """Return the anchors, bit for bit as they were put, or None if they are not there.

        Args:
            key: From ``key_for`` or a verified handle.
            fingerprint: The compressor that they must come from.

        Raises:
            CorruptEntryError: If they were damaged. Compress the text again and ``put`` it.
            StoreFormatError: If another version wrote them.
            IncompatibleCacheError: If another compressor made them.
        """
        # Here, not above: listing a store should not wait for torch.
        from sac_rag.anchor_cache import AnchorCache

        try:
            [blob] = self.backend.mget([ANCHORS + key])
            cache = None if blob is None else AnchorCache.from_bytes(blob)
        except CorruptEntryError as error:
            self._count(corrupt=1)
            raise CorruptEntryError(f"anchors of {key}: {error}") from error
        self._count(hits=int(cache is not None), misses=int(cache is None))
        if cache is not None and fingerprint is not None and cache.fingerprint != fingerprint:
            raise IncompatibleCacheError(
                f"the anchors of {key} come from compressor {cache.fingerprint[:12]}, asked for "
                f"those of {fingerprint[:12]}; compress the text again, or use the model, adapter "
                "and settings that made them"
            )
        return cache

    def put(
        self, key: str, cache: AnchorCache, *, text: str | None = None, title: str | None = None
    ) -> None:
        """Keep anchors, over what is there, and the text that they can be made from again.

        Args:
            key: From ``key_for``.
            cache: The anchors.
            text: The document; None leaves a text that is there as it is.
            title: Kept beside the text; that of the last ``put`` stays.

        Raises:
            StoreWriteError: If the place is full or refuses.
        """
        items = [(ANCHORS + key, cache.to_bytes())]
        if text is not None:
            # First, so that no kill leaves anchors without it.
            items.insert(0, (TEXT + key, StoredText(text=text, title=title).to_bytes()))
        self.backend.mset(items)

    def text_of(self, key: str) -> StoredText | None:
        """Return the kept text, or None if there is none.

        Raises:
            CorruptEntryError: If it was damaged.
        """
        [blob] = self.backend.mget([TEXT + key])
        return None if blob is None else StoredText.from_bytes(blob)

    def delete(self, key: str) -> bool:
        """Remove anchors and text; return whether there were any."""
        names = [ANCHORS + key, TEXT + key]
        there = any(self.backend.stat(name) for name in names)
        self.backend.mdelete(names)
        return there

    def keys(self) -> Iterator[str]:
        """List the keys that have anchors, of all namespaces."""
        return (name.removeprefix(ANCHORS) for name in self.backend.yield_keys(prefix=ANCHORS))

    def entries(self) -> Iterator[StoreEntry]:
        """List what is there, texts without anchors included; loads no tensor, counts no use."""
        names = chain(*(self.backend.yield_keys(prefix=prefix) for prefix in (ANCHORS, TEXT)))
        for key in dict.fromkeys(name.partition("/")[2] for name in names):
            anchors = self.backend.stat(ANCHORS + key)
            text = self.backend.stat(TEXT + key)
            if anchors or text:  # else evicted while this was listing
                yield self._entry(key, anchors=anchors, text=text)

    @property
    def stats(self) -> StoreStats:
        """Count what is there, and what was asked for since this store was opened."""
        with self._lock:
            hits, misses, corrupt = self._hits, self._misses, self._corrupt
        return StoreStats(
            entries=len(self),
            texts=sum(1 for _ in self.backend.yield_keys(prefix=TEXT)),
            nbytes=self.backend.nbytes,
            hits=hits,
            misses=misses,
            corrupt=corrupt,
        )

    def verify(self) -> Iterator[EntryCheck]:
        """Read every piece in full and say what is wrong with it; counts no use."""
        for prefix in (ANCHORS, TEXT):
            for name in self.backend.yield_keys(prefix=prefix):
                status = self.backend.stat(name)
                if status is not None:
                    yield EntryCheck(
                        key=name.removeprefix(prefix),
                        part=prefix.rstrip("/"),
                        nbytes=status.nbytes,
                        error=self._error_in(name),
                    )

    def gc(self, *, max_bytes: int | None = None, max_age_s: float | None = None) -> GCReport:
        """Clean up: killed writers' leftovers, old entries, then the longest unused ones.

        Args:
            max_bytes: Remove until anchors and texts take no more; anchors go first.
            max_age_s: Remove entries that nobody used for longer, in seconds.

        Raises:
            StoreWriteError: If something cannot be removed.
        """
        return collect(
            self.backend, prefixes=(ANCHORS, TEXT), max_bytes=max_bytes, max_age_s=max_age_s
        )

    @property
    def secret(self) -> bytes:
        """What signs this store's handles: SAC_RAG_HANDLE_KEY, or the backend's own key.

        Raises:
            ConfigError: If the variable is set to fewer than 16 bytes.
            StoreWriteError: If the backend has no key yet and cannot keep one.
        """
        given = os.fsencode(os.environ.get(SECRET_VARIABLE, ""))
        if not given:
            return self.backend.secret()
        if len(given) < _MIN_SECRET_BYTES:
            raise ConfigError(
                f"{SECRET_VARIABLE} has {len(given)} bytes, too few to be secret; set at least "
                f"{_MIN_SECRET_BYTES} random ones, or unset it"
            )
        return given

    def close(self) -> None:
        """Let go of the backend."""
        self.backend.close()

    def _entry(self, key: str, *, anchors: EntryStat | None, text: EntryStat | None) -> StoreEntry:
        try:
            head = anchors and self.backend.peek(ANCHORS + key, _PEEK_BYTES)
        except (CorruptEntryError, StoreFormatError):
            head = None
        found = anchor_header(head) if head else None
        num_tokens, num_anchors, fingerprint = found or (None, None, None)
        return StoreEntry(
            key=key,
            anchor_bytes=anchors.nbytes if anchors else 0,
            text_bytes=text.nbytes if text else 0,
            last_used_s=max(status.last_used_s for status in (anchors, text) if status),
            num_tokens=num_tokens,
            num_anchors=num_anchors,
            fingerprint=fingerprint,
        )

    def _error_in(self, name: str) -> str | None:
        from sac_rag.anchor_cache import AnchorCache

        try:
            blob = self.backend.peek(name)
            if blob is not None:
                (AnchorCache if name.startswith(ANCHORS) else StoredText).from_bytes(blob)
        except (CorruptEntryError, StoreFormatError) as error:
            return str(error)
        return None

    def _count(self, *, hits: int = 0, misses: int = 0, corrupt: int = 0) -> None:
        with self._lock:
            self._hits += hits
            self._misses += misses
            self._corrupt += corrupt
