"""Stores by name: where an address is turned into a place that keeps bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sac_rag.codecs.names import EXACT
from sac_rag.errors import ConfigError
from sac_rag.store.anchors import TEXT, AnchorStore
from sac_rag.store.base import ByteStore
from sac_rag.store.directory import DirectoryByteStore
from sac_rag.store.memory import MemoryByteStore

if TYPE_CHECKING:
    from sac_rag.codecs.base import Codec


def open_store(
    url: str | Path | AnchorStore | None = None,
    *,
    namespace: str = "default",
    max_bytes: int | None = None,
    codec: str | Codec = EXACT,
    min_bits: float | None = None,
) -> AnchorStore:
    """Open a store by its address.

    Args:
        url: A folder, as path or ``file://``; ``memory://`` or None for this process's memory; an
            open store is returned as it is.
        namespace: Whose documents these are.
        max_bytes: Bound on the store; the longest unused anchors go first. None for the default:
            2 GiB in memory, no bound in a folder.
        codec: How anchors are written, and the coarsest that are served: ``exact``, ``bf16``,
            ``fp16``, ``int8``, ``int4``, ``pca:FILE`` with a basis that ``sac-rag store fit-basis``
            (or ``sac_rag.codecs.fit_pca``) fitted for the model, or a codec; see ``AnchorStore``.
        min_bits: Serve entries that kept so many bits of each number; 0 for all.

    Raises:
        ConfigError: If the address is of a kind that this version does not have.
        StoreFormatError: If a store of another version is there, or something else.
        StoreWriteError: If the store cannot be made.
    """
    if isinstance(url, AnchorStore):
        given = max_bytes is not None or min_bits is not None
        if given or codec not in (EXACT, url.codec) or namespace not in ("default", url.namespace):
            raise ConfigError(
                f"{url!r} is open already; give namespace, max_bytes, codec and min_bits where it "
                "is opened"
            )
        return url
    if url is None:
        url = "memory://"
    scheme, separator, _ = str(url).partition("://")
    if isinstance(url, Path) or not separator:
        if not str(url).strip():
            raise ConfigError("asked for a store at an empty path; give a folder")
        place = _folder(Path(url), max_bytes)
        return AnchorStore(place, namespace=namespace, codec=codec, min_bits=min_bits)
    if scheme not in _OPENERS:
        raise ConfigError(
            f"asked for a store at {scheme}://; this version has "
            f"{', '.join(f'{name}://' for name in _OPENERS)} and plain paths"
        )
    place = _OPENERS[scheme](str(url), max_bytes)
    return AnchorStore(place, namespace=namespace, codec=codec, min_bits=min_bits)


def _open_memory(url: str, max_bytes: int | None) -> ByteStore:
    if url != "memory://":
        raise ConfigError(f"asked for a store at {url}; memory has no name, give memory://")
    if max_bytes is None:
        return MemoryByteStore(evict_last=TEXT)
    return MemoryByteStore(max_bytes, evict_last=TEXT)


def _open_file(url: str, max_bytes: int | None) -> ByteStore:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigError(f"asked for a store at {url}; give file:///a/full/path, or a plain path")
    return _folder(Path(unquote(parts.path)), max_bytes)


def _folder(path: Path, max_bytes: int | None) -> ByteStore:
    return DirectoryByteStore(path.expanduser(), max_bytes=max_bytes, evict_last=TEXT)


_OPENERS: dict[str, Callable[[str, int | None], ByteStore]] = {
    "memory": _open_memory,
    "file": _open_file,
}
"""The one place where a kind of store is added: scheme -> what opens (url, max_bytes)."""
