"""The store that the engine uses: anchors and texts under the hash of what made them."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from sac_rag.codecs.names import EXACT
from sac_rag.errors import (
    ConfigError,
    CorruptEntryError,
    IncompatibleCacheError,
)
from sac_rag.store.base import ByteStore, Viewable
from sac_rag.store.clean import collect
from sac_rag.store.coding import Coding
from sac_rag.store.listing import ANCHORS, TEXT, check_pieces, entry_of, head_of, list_entries
from sac_rag.store.records import (
    EntryCheck,
    GCReport,
    StoredText,
    StoreEntry,
    StoreStats,
)

if TYPE_CHECKING:
    from torch import Tensor

    from sac_rag.anchor_cache import AnchorCache
    from sac_rag.codecs.base import Codec

logger = logging.getLogger(__name__)

SECRET_VARIABLE = "SAC_RAG_HANDLE_KEY"
_MIN_SECRET_BYTES = 16


class AnchorStore:
    """Keeps anchors, and the texts they stand for, in any place that keeps bytes.

    Safe to share between threads. Entries of all namespaces lie side by side: the namespace is in
    the key and in the signature of every handle, so one tenant can neither hit nor name another's.

    The codec is not in the key: a text has one entry, whoever wrote it last, and its handle lives
    on when it is written anew. Instead an entry says what wrote it, and is served only to a store
    that is content with it: by default one whose own codec keeps no more. To all others it is not
    there, so that they encode the text again and write the better anchors over it. Nobody is given
    coarser anchors than asked for, and what was written finer serves all.

    Args:
        backend: The place.
        namespace: Whose documents these are.
        codec: How ``put`` writes anchors: ``exact``, ``bf16``, ``fp16``, ``int8``, ``int4``,
            ``pca:FILE`` or a codec.
        min_bits: Serve entries that kept so many bits of each number; 0 for all, None for those
            that kept as many as ``codec`` keeps.

    Raises:
        ConfigError: If the codec is not known.
    """

    def __init__(
        self,
        backend: ByteStore,
        *,
        namespace: str = "default",
        codec: str | Codec = EXACT,
        min_bits: float | None = None,
    ) -> None:
        self.backend = backend
        self.namespace = namespace
        self._coding = Coding(backend, codec=codec, min_bits=min_bits)
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

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
        if not isinstance(key, str) or self.backend.stat(ANCHORS + key) is None:
            return False
        head = head_of(self.backend, key)
        return head is None or self._coding.serves(head.bits)

    @property
    def codec(self) -> str:
        """Name of the codec that ``put`` writes with."""
        return self._coding.name

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
        """Return the anchors, as ``put`` returned them, or None if they are not there.

        An entry that a lossier codec wrote than this store serves counts as not there.

        Args:
            key: From ``key_for`` or a verified handle.
            fingerprint: The compressor that they must come from.

        Raises:
            CorruptEntryError: If they were damaged. Compress the text again and ``put`` it.
            StoreFormatError: If another version wrote them.
            IncompatibleCacheError: If another compressor made them.
        """
        # Here, not above: listing a store should not wait for torch.
        from sac_rag.codecs.base import Encoded

        try:
            blob, checked = self._read(ANCHORS + key)
            found = None if blob is None else Encoded.from_bytes(blob, checked=checked)
            coarse = found is not None and not self._coding.serves(found.bits)
            cache = None if found is None or coarse else self._coding.decode(found)
        except CorruptEntryError as error:
            self._count("corrupt")
            raise CorruptEntryError(f"anchors of {key}: {error}") from error
        if found is None or cache is None:
            self._count("misses", *["coarse"] * coarse)
            if found is not None:
                logger.info("anchors of %s are %s, too coarse for %s", key, found.codec, self.codec)
            return None
        self._count("hits", *["lossy"] * (found.bits < math.inf))
        if fingerprint is not None and cache.fingerprint != fingerprint:
            raise IncompatibleCacheError(
                f"the anchors of {key} come from compressor {cache.fingerprint[:12]}, asked for "
                f"those of {fingerprint[:12]}; compress the text again, or use the model, adapter "
                "and settings that made them"
            )
        return cache

    def put(
        self,
        key: str,
        cache: AnchorCache,
        *,
        text: str | None = None,
        title: str | None = None,
        question: str | None = None,
        inv_freq: Tensor | None = None,
    ) -> AnchorCache:
        """Keep anchors, over what is there, and the text that they can be made from again.

        Returns them as ``get`` will: those given, bit for bit, with codec ``exact``. Answer from
        what is returned, and an answer does not depend on whether the text was stored before.

        Args:
            key: From ``key_for``.
            cache: The anchors.
            text: The document; None leaves a text that is there as it is.
            title: Kept beside the text; that of the last ``put`` stays.
            question: Kept beside the text: what the anchors serve, if it is one question alone.
            inv_freq: The model's RoPE frequencies; int8 and int4 need them.

        Raises:
            ConfigError: If the codec cannot write these anchors.
            StoreWriteError: If the place is full or refuses.
        """
        encoded = self._coding.encode(cache, inv_freq=inv_freq)
        items = [(ANCHORS + key, encoded.to_bytes())]
        if text is not None:
            # First, so that no kill leaves anchors without it.
            kept = StoredText(text=text, title=title, question=question)
            items.insert(0, (TEXT + key, kept.to_bytes()))
        self.backend.mset(items)
        exact = encoded.bits == math.inf
        return cache if exact else self._coding.decode(encoded).to(cache.keys.device)

    def _read(self, name: str) -> tuple[bytes | memoryview | None, bool]:
        """Give (value, whether its bytes are checked)."""
        if isinstance(self.backend, Viewable):
            return self.backend.view(name), self.backend.checks_views
        return self.backend.mget([name])[0], False

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

    def entry(self, key: str) -> StoreEntry | None:
        """Tell what is under a key, None if nothing is; loads no tensor, counts no use."""
        return entry_of(self.backend, key)

    def entries(self) -> Iterator[StoreEntry]:
        """List what is there, texts without anchors included; loads no tensor, counts no use."""
        return list_entries(self.backend)

    @property
    def stats(self) -> StoreStats:
        """Count what is there, and what was asked for since this store was opened."""
        with self._lock:
            counts = Counter(self._counts)
        return StoreStats(
            entries=len(self),
            texts=sum(1 for _ in self.backend.yield_keys(prefix=TEXT)),
            nbytes=self.backend.nbytes,
            hits=counts["hits"],
            misses=counts["misses"],
            corrupt=counts["corrupt"],
            lossy=counts["lossy"],
            coarse=counts["coarse"],
        )

    def verify(self) -> Iterator[EntryCheck]:
        """Read every piece in full and say what is wrong with it; counts no use."""
        return check_pieces(self.backend, coding=self._coding)

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

    def _count(self, *events: str) -> None:
        with self._lock:
            self._counts.update(events)
