"""The engine's byte stores as LangChain's ``ByteStore``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from langchain_core.stores import BaseStore

if TYPE_CHECKING:
    from sac_rag.store import ByteStore


class SACByteStore(BaseStore[str, bytes]):
    """Keeps bytes where anchors are kept: in bounded memory, or in a checksummed folder.

    Args:
        backend: ``sac_rag.store.MemoryByteStore``, ``DirectoryByteStore``, or another.
    """

    def __init__(self, backend: ByteStore) -> None:
        self.backend = backend

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return each key's value, None where there is none.

        Raises:
            CorruptEntryError: If a stored value is not what was written.
        """
        return self.backend.mget(keys)

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Write each value under its key.

        Raises:
            StoreWriteError: If one cannot be written.
        """
        self.backend.mset(key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the keys; one that is not there is no error."""
        self.backend.mdelete(keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """List the keys, or those that begin with ``prefix``."""
        return self.backend.yield_keys(prefix=prefix)

    def __repr__(self) -> str:
        return f"SACByteStore({type(self.backend).__name__})"
