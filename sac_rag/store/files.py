"""Files that are whole or not there, whoever is killed and whoever else writes."""

from __future__ import annotations

import mmap
import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path

from sac_rag.errors import StoreWriteError

STALE_S = 600.0
"""A temporary file that nobody has written to for so long, in seconds, has no living writer."""

_TEMPORARY = re.compile(r"\.[0-9]+-[0-9a-f]{32}")


def write_whole(path: Path, parts: tuple[bytes, ...], *, scratch: Path) -> None:
    """Write a file that appears under its name complete and on the disk, or not at all.

    Args:
        path: Its name; a file already there is replaced.
        parts: Its bytes.
        scratch: Folder of the same file system for the temporary file.

    Raises:
        StoreWriteError: If it cannot be written; what was at ``path`` stays.
    """
    temporary = _temporary(scratch)
    try:
        _write_new(temporary, parts, mode=0o666)
        touch(temporary)  # the file system's own clock ticks too coarsely to order entries by
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):  # gone after the rename: the ordinary case
            temporary.unlink()


def write_once(path: Path, content: bytes, *, scratch: Path) -> bytes:
    """Write a private file unless there is one, and return what it then holds.

    Of any number of processes that do so together one wins, and all return its bytes.

    Raises:
        StoreWriteError: If it cannot be written.
    """
    temporary = _temporary(scratch)
    try:
        _write_new(temporary, (content,), mode=0o600)
        # A link, unlike a rename, refuses to replace the file of a process that was faster.
        with suppress(FileExistsError):
            os.link(temporary, path)
        _sync_folder(path.parent)
        return path.read_bytes()
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def map_file(path: Path) -> memoryview:
    """Show a file's bytes in memory: mapped, or read where that cannot be.

    What is written to them stays in this process. Windows keeps a mapped file from being replaced,
    so there it is read.

    Raises:
        FileNotFoundError: If there is none.
    """
    with path.open("rb") as file:
        if os.name != "nt":
            with suppress(OSError, ValueError):  # no mapping on this file system; an empty file
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                if hasattr(mmap, "MADV_WILLNEED"):
                    mapped.madvise(mmap.MADV_WILLNEED)
                return memoryview(mapped)
        return memoryview(bytearray(file.read()))


def touch(path: Path) -> None:
    """Mark a file as used now, to the nanosecond."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def sweep(*folders: Path) -> int:
    """Remove temporary files that no living writer can still be writing; return how many."""
    removed = 0
    for file in (file for folder in folders if folder.is_dir() for file in folder.iterdir()):
        with suppress(OSError):
            stale = _TEMPORARY.fullmatch(file.name) and time.time() - file.stat().st_mtime > STALE_S
            if stale:
                file.unlink()
                removed += 1
    return removed


def write_error(path: Path, error: OSError) -> StoreWriteError:
    """Say what could not be written, why, and what to do; keeps the system's error number."""
    refused = StoreWriteError(
        f"cannot write {path}: {error.strerror or error}. What was stored before is untouched; "
        "free space (`sac-rag store gc`), correct the folder's permissions, or use another store"
    )
    refused.errno = error.errno
    return refused


def _temporary(folder: Path) -> Path:
    return folder / f".{os.getpid()}-{uuid.uuid4().hex}"


def _write_new(path: Path, parts: tuple[bytes, ...], *, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, mode), "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and its renames are durable
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
