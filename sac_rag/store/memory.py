"""Bytes in this process's memory, the least recently used dropped first."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock

from sac_rag.store.base import EntryStat, check_bound, check_fits


class MemoryByteStore:
    """Keeps values until they outgrow ``max_bytes``. Safe to share between threads.

    Args:
        max_bytes: Bound on the values together, in bytes.
        evict_last: Keys that begin so are dropped only when nothing else is left.
    """

    checks_views = False

    def __init__(self, max_bytes: int = 2 * 2**30, *, evict_last: str = "") -> None:
        check_bound(max_bytes)
        self._max_bytes = max_bytes
        self._evict_last = evict_last
        # Two queues, so that dropping one entry never walks over those that are dropped last.
        self._first: OrderedDict[str, tuple[bytearray, float]] = OrderedDict()
        self._last: OrderedDict[str, tuple[bytearray, float]] = OrderedDict()
        self._nbytes = 0
        self._lock = Lock()
        self._kept: dict[str, bytes] = {}
        self._secret = secrets.token_bytes(32)

    def __repr__(self) -> str:
        return f"MemoryByteStore({self.nbytes:,} of {self._max_bytes:,} bytes)"

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return each key's value, None where there is none; counts as a use."""
        with self._lock:
            found = [self._use(key) for key in keys]
        return [None if value is None else bytes(value) for value in found]

    def view(self, key: str) -> memoryview | None:
        """Return a key's value where it lies, None where there is none; counts as a use."""
        with self._lock:
            value = self._use(key)
        return None if value is None else memoryview(value)

    def mset(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Keep each value, then drop the least recently used ones beyond the bound.

        Raises:
            StoreWriteError: If one value alone is beyond the bound; none is kept then.
        """
        for key, value in items:
            check_fits(key, len(value), self._max_bytes)
        with self._lock:
            for key, value in items:
                self._drop(key)
                self._queue(key)[key] = (bytearray(value), time.time())
                self._nbytes += len(value)
                while self._nbytes > self._max_bytes:
                    self._drop(self._oldest(spare=key))

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the keys; one that is not there is no error."""
        with self._lock:
            for key in keys:
                self._drop(key)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """List the keys, or those that begin with ``prefix``, as they are now."""
        with self._lock:
            keys = [*self._first, *self._last]
        return (key for key in keys if key.startswith(prefix or ""))

    def stat(self, key: str) -> EntryStat | None:
        """Return size and last use of an entry, None if there is none."""
        with self._lock:
            found = self._queue(key).get(key)
        return EntryStat(nbytes=len(found[0]), last_used_s=found[1]) if found else None

    def peek(self, key: str, num_bytes: int | None = None) -> bytes | None:
        """Return a value, or its first bytes, and count no use."""
        with self._lock:
            found = self._queue(key).get(key)
        return bytes(memoryview(found[0])[:num_bytes]) if found else None

    @property
    def nbytes(self) -> int:
        """Bytes that all values take."""
        return self._nbytes

    def sweep(self) -> int:
        """Find nothing to remove: memory dies with its writer."""
        return 0

    def keep(self, name: str, value: bytes) -> None:
        """Keep bytes that many entries need, beyond the bound."""
        self._kept[name] = bytes(value)

    def kept(self, name: str) -> bytes | None:
        """Return what ``keep`` was given, None if nothing was."""
        return self._kept.get(name)

    def secret(self) -> bytes:
        """Return 32 random bytes that live as long as this object."""
        return self._secret

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._first.clear()
            self._last.clear()
            self._kept.clear()
            self._nbytes = 0

    def _queue(self, key: str) -> OrderedDict[str, tuple[bytearray, float]]:
        late = bool(self._evict_last) and key.startswith(self._evict_last)
        return self._last if late else self._first

    def _use(self, key: str) -> bytearray | None:
        queue = self._queue(key)
        if key not in queue:
            return None
        value = queue[key][0]
        queue[key] = (value, time.time())
        queue.move_to_end(key)
        return value

    def _drop(self, key: str) -> None:
        found = self._queue(key).pop(key, None)
        self._nbytes -= len(found[0]) if found else 0

    def _oldest(self, *, spare: str) -> str:
        return next(key for queue in (self._first, self._last) for key in queue if key != spare)
