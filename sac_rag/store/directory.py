"""Bytes in a folder: one file per entry, for many processes at once.

::

    format.json     version of the folder, written first
    handle.key      32 random bytes in hex, readable by the owner alone
    codecs/         what entries of a codec need to be read, by hash: PCA bases
    tmp/            files being written
    3f/3f5c..-KEY   entries, in 256 folders

Nothing is locked. A file appears by rename, so a reader sees it whole or not at all, and whoever
loses it to another process's eviction finds an entry that is not there.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from urllib.parse import quote, unquote

from sac_rag.errors import CorruptEntryError, StoreFormatError
from sac_rag.store.base import EntryStat, check_bound, check_fits
from sac_rag.store.entry_file import pack, read_head, read_header, unpack
from sac_rag.store.files import map_file, sweep, touch, write_error, write_whole
from sac_rag.store.folder import folder_secret, open_folder

logger = logging.getLogger(__name__)

_SHARD = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{16}-(?P<key>[\w.~%-]*)|[0-9a-f]{64}", re.ASCII)
_MAX_NAME = 200  # every common file system takes 255 bytes


class DirectoryByteStore:
    """Keeps values as files that survive kills, and notices damage when it reads them.

    Args:
        path: The folder; made if it is not there.
        max_bytes: Bound on the entry files together, in bytes; None for no bound. One process
            keeps it exactly; several that write at once go over it by up to a sixteenth each.
        evict_last: Keys that begin so are evicted only when nothing else is left.

    Raises:
        ConfigError: If ``path`` is a file, or the bound is not positive.
        StoreFormatError: If the folder is a store of another version, or holds other things.
        StoreWriteError: If it cannot be made.
    """

    checks_views = True

    def __init__(
        self, path: str | Path, *, max_bytes: int | None = None, evict_last: str = ""
    ) -> None:
        check_bound(max_bytes)
        self.path = Path(path)
        self._max_bytes = max_bytes
        self._evict_last = evict_last
        self._room = 0  # how much may be written before the folder is measured again
        self._lock = Lock()
        self._secret: bytes | None = None
        open_folder(self.path)

    def __repr__(self) -> str:
        return f"DirectoryByteStore({str(self.path)!r}, max_bytes={self._max_bytes})"

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return each key's value, None where there is none; counts as a use.

        Raises:
            CorruptEntryError: If a file is not what was written; the message names it.
            StoreFormatError: If another format version wrote it.
        """
        return [self._use(key) for key in keys]

    def view(self, key: str) -> memoryview | None:
        """Return a key's value as its file, mapped into memory; counts as a use.

        Files are replaced and removed, never written again, so what is mapped stays as it is. A
        file that something else cuts off under a reader takes the reader with it (SIGBUS), as
        with any mapped file.

        Raises:
            CorruptEntryError: If the file is not what was written; the message names it.
            StoreFormatError: If another format version wrote it.
        """
        path = self._path(key)
        try:
            blob = map_file(path)
        except FileNotFoundError:
            return None
        value = unpack(blob, key=key, name=str(path))
        self._touch(path)
        return value

    def mset(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Write each value under its key, one file after another, then evict beyond the bound.

        Raises:
            StoreWriteError: If one is too large or cannot be written; those before it are there.
        """
        for key, value in items:
            head, payload = pack(key, value)
            nbytes = len(head) + len(payload)
            check_fits(key, nbytes, self._max_bytes)
            path = self._path(key)
            _make_folder(path.parent)
            write_whole(path, (head, payload), scratch=_make_folder(self.path / "tmp"))
            self._keep_bound(path, nbytes)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove the keys; one that is not there is no error.

        Raises:
            StoreWriteError: If a file cannot be removed.
        """
        for path in map(self._path, keys):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(path, error) from error

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """List the keys, or those that begin with ``prefix``, in no order."""
        for file, _ in self._files():
            key = _key_of(file)
            if key is not None and key.startswith(prefix or ""):
                yield key

    def stat(self, key: str) -> EntryStat | None:
        """Return size and last use of an entry, None if there is none."""
        try:
            found = self._path(key).stat()
        except FileNotFoundError:
            return None
        return EntryStat(nbytes=found.st_size, last_used_s=found.st_mtime)

    def peek(self, key: str, num_bytes: int | None = None) -> bytes | None:
        """Return a value, or its first bytes unchecked, and count no use.

        Raises:
            CorruptEntryError: If the file, or its header, is not what was written.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if num_bytes is None:
                    return unpack(file.read(), key=key, name=str(path))
                file.seek(read_header(read_head(file), name=str(path)).start)
                return file.read(num_bytes)
        except FileNotFoundError:
            return None

    @property
    def nbytes(self) -> int:
        """Bytes that all entry files take; looks at each."""
        return sum(status.st_size for _, status in self._files())

    def sweep(self) -> int:
        """Remove the temporary files of killed writers; return how many."""
        return sweep(self.path, self.path / "tmp")

    def keep(self, name: str, value: bytes) -> None:
        """Keep bytes that many entries need, as a file that no bound evicts.

        Raises:
            StoreWriteError: If it cannot be written.
        """
        path = self._kept_path(name)
        if not path.exists():
            _make_folder(path.parent)
            write_whole(path, (value,), scratch=_make_folder(self.path / "tmp"))

    def kept(self, name: str) -> bytes | None:
        """Return what ``keep`` was given, None if nothing was."""
        try:
            return self._kept_path(name).read_bytes()
        except FileNotFoundError:
            return None

    def secret(self) -> bytes:
        """Return the folder's 32 random bytes, made once however many processes ask first.

        Raises:
            CorruptEntryError: If the file that holds them does not hold them.
            StoreWriteError: If there is none and none can be written.
        """
        if self._secret is None:
            self._secret = folder_secret(self.path)
        return self._secret

    def close(self) -> None:
        """Do nothing: every write is on the disk when it returns."""

    def _use(self, key: str) -> bytes | None:
        value = self.peek(key)
        if value is not None:
            self._touch(self._path(key))
        return value

    @staticmethod
    def _touch(path: Path) -> None:
        with suppress(OSError):  # evicted meanwhile, or a store that may only be read
            touch(path)

    def _path(self, key: str) -> Path:
        digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        # The key is readable in the name; the digest keeps "a" and "A" apart where case does not.
        name = f"{digest[:16]}-{quote(key, safe='', errors='surrogatepass')}"
        return self.path / digest[:2] / (name if len(name) <= _MAX_NAME else digest)

    def _kept_path(self, name: str) -> Path:
        return self.path / "codecs" / quote(name, safe="")

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for shard in sorted(os.listdir(self.path)):
            if not _SHARD.fullmatch(shard):
                continue
            with os.scandir(self.path / shard) as found:
                for file in found:
                    if _NAME.fullmatch(file.name):
                        with suppress(FileNotFoundError):  # another process was faster
                            yield Path(file.path), file.stat()

    def _keep_bound(self, written: Path, nbytes: int) -> None:
        if self._max_bytes is None:
            return
        with self._lock:
            self._room -= nbytes
            if self._room < 0:
                total = self._evict(self._max_bytes, spare=written)
                self._room = min(self._max_bytes - total, self._max_bytes // 16)

    def _evict(self, max_bytes: int, *, spare: Path) -> int:
        """Bring the folder below its bound, with some to spare so that it is not measured often."""
        self.sweep()
        files = list(self._files())
        total = sum(status.st_size for _, status in files)
        if total <= max_bytes:
            return total
        files.sort(key=lambda item: (self._is_last(item[0]), item[1].st_mtime_ns))
        for file, status in files:
            if total <= max_bytes * 7 // 8:
                break
            if file == spare:
                continue
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("cannot evict %s: %s", file, error)
                continue
            total -= status.st_size
        return total

    def _is_last(self, file: Path) -> bool:
        return bool(self._evict_last) and (_key_in_name(file) or "").startswith(self._evict_last)


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _key_in_name(file: Path) -> str | None:
    match = _NAME.fullmatch(file.name)
    quoted = match["key"] if match else None
    return None if quoted is None else unquote(quoted, errors="surrogatepass")


def _key_of(file: Path) -> str | None:
    key = _key_in_name(file)
    if key is not None:
        return key
    try:
        with file.open("rb") as opened:
            return read_header(read_head(opened), name=str(file)).key
    except (OSError, CorruptEntryError, StoreFormatError):
        return None
