"""What the engine needs of a place that keeps bytes.

The first four methods are those of LangChain's ``ByteStore``, so that one thin class makes any of
these a store of LangChain, and its conformance suite applies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sac_rag.errors import ConfigError, StoreWriteError


@dataclass(frozen=True, kw_only=True)
class EntryStat:
    """What a place knows of an entry without reading its value."""

    nbytes: int
    """Bytes that it takes there: what counts against a bound."""
    last_used_s: float
    """When it was last written or read, in seconds since 1970."""


class ByteStore(Protocol):
    """A place that keeps bytes under text keys. Safe to share between threads."""

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return each key's value, None where there is none; counts as a use.

        Raises:
            CorruptEntryError: If a stored value is not what was written.
        """
        ...

    def mset(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Write each value under its key, over what is there.

        Raises:
            StoreWriteError: If one cannot be written; what was there before it stays.
        """
        ...

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the keys; one that is not there is no error."""
        ...

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """List the keys, or those that begin with ``prefix``, in no order."""
        ...

    def stat(self, key: str) -> EntryStat | None:
        """Return size and last use of an entry, None if there is none; counts as no use."""
        ...

    def peek(self, key: str, num_bytes: int | None = None) -> bytes | None:
        """Return a value as ``mget`` does, but count no use.

        Args:
            key: Which.
            num_bytes: Read only so many from the start, unchecked.
        """
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that all entries take."""
        ...

    def sweep(self) -> int:
        """Remove what killed writers left behind; return how many pieces."""
        ...

    def keep(self, name: str, value: bytes) -> None:
        """Keep bytes that many entries need to be read; no bound evicts or counts them.

        Args:
            name: Hex digits, of a hash of the value: whoever keeps it again changes nothing.
            value: The bytes.

        Raises:
            StoreWriteError: If they cannot be written.
        """
        ...

    def kept(self, name: str) -> bytes | None:
        """Return what ``keep`` was given, None if nothing was."""
        ...

    def secret(self) -> bytes:
        """Return 32 random bytes, the same ones for as long as the place lives."""
        ...

    def close(self) -> None:
        """Let go of memory and connections."""
        ...


@runtime_checkable
class Viewable(Protocol):
    """A place that can show a value where it lies. Others are asked with ``mget``."""

    checks_views: bool
    """Whether ``view`` compares every byte with a checksum."""

    def view(self, key: str) -> memoryview | None:
        """Return a key's value without copying it, None where there is none; counts as a use.

        What is shown stays as it is for as long as anybody holds it, whatever becomes of the
        entry. It can be written to, so that tensors may lie on it, but nobody may do so.

        Raises:
            CorruptEntryError: If a stored value is not what was written.
        """
        ...


def check_bound(max_bytes: int | None) -> None:
    """Refuse a bound that nothing fits.

    Raises:
        ConfigError: If ``max_bytes`` is not positive.
    """
    if max_bytes is not None and max_bytes <= 0:
        raise ConfigError(
            f"asked for a store of at most {max_bytes} bytes; give a positive number, or None"
        )


def check_fits(key: str, nbytes: int, max_bytes: int | None) -> None:
    """Refuse a value that would push everything else out and still not fit.

    Raises:
        StoreWriteError: If ``nbytes`` is more than ``max_bytes``.
    """
    if max_bytes is not None and nbytes > max_bytes:
        raise StoreWriteError(
            f"entry {key!r} takes {nbytes:,} bytes, the whole store may hold {max_bytes:,}; "
            "raise max_bytes"
        )
