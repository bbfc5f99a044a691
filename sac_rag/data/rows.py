"""Rows of local files: line by line, nothing kept, nothing lost without a word.

A row that cannot be read (no JSON, no UTF-8) is a bad row and the next one is tried; a file that
cannot be read on (broken compression, no such file) is refused.
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sac_rag.errors import DataError, MissingDependencyError

DOCUMENT_END = "<|endoftext|>"
"""The line that separates documents in a text file."""

_BOM = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record as it stands in a file."""

    line: int
    """Line, or row of a table, from 1."""
    value: Any = None
    """What it says."""
    problem: str | None = None
    """Why it says nothing, if it is broken."""


def rows_of(path: Path) -> Iterator[Row]:
    """Read a file's rows.

    Raises:
        DataError: If the file is missing, empty, of an unknown kind or cannot be read to its end.
    """
    read = _READERS[suffix_of(path)]
    number = 0
    try:
        for number, row in enumerate(read(path), start=1):  # noqa: B007 (used in the messages)
            yield row
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read on after {number} records ({error or 'cut short'}); "
            "it is damaged or not whole: fetch or write it again"
        ) from error
    if not number:
        raise DataError(f"{path} is empty: it holds no record; leave it out")


def json_rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """Read lines of JSON; blank ones are passed over."""
    for number, raw in enumerate(lines, start=1):
        text = _decoded(raw, first=number == 1)
        if isinstance(text, UnicodeDecodeError):
            yield Row(line=number, problem=_not_utf8(text))
        elif text.strip():
            try:
                yield Row(line=number, value=json.loads(text))
            except (ValueError, RecursionError) as error:
                yield Row(line=number, problem=f"is not valid JSON ({error})")


def text_rows(lines: Iterable[bytes]) -> Iterator[Row]:
    """Read documents that a line ``<|endoftext|>`` separates; each is a ``{"text"}``.

    A document's line is its first. White space between two separators is no document.
    """
    start, parts, problem = 1, [], None
    for number, raw in enumerate(lines, start=1):
        text = _decoded(raw, first=number == 1)
        if isinstance(text, UnicodeDecodeError):
            problem = problem or f"line {number} {_not_utf8(text)}"
        elif text.rstrip("\r\n") == DOCUMENT_END:
            yield from _document(start, parts, problem)
            start, parts, problem = number + 1, [], None
        else:
            parts.append(text)
    yield from _document(start, parts, problem)


def _document(line: int, parts: list[str], problem: str | None) -> Iterator[Row]:
    text = "".join(parts).rstrip("\r\n")
    if problem:
        yield Row(line=line, problem=problem)
    elif text.strip():
        yield Row(line=line, value={"text": text})


def _decoded(raw: bytes, *, first: bool) -> str | UnicodeDecodeError:
    try:
        return raw.decode("utf-8").removeprefix(_BOM if first else "")
    except UnicodeDecodeError as error:
        return error


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"is not valid UTF-8 (byte 0x{error.object[error.start]:02x}, {error.reason})"


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path} needs pyarrow; install sac-rag[train]"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=256):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(line=number, value=value)
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error


def _lines_with(
    opened: Callable[[Path, Any], AbstractContextManager[IO[bytes]]],
    parse: Callable[[Iterable[bytes]], Iterator[Row]],
) -> Callable[[Path], Iterator[Row]]:
    def read(path: Path) -> Iterator[Row]:
        with opened(path, "rb") as file:
            yield from parse(file)

    return read


_OPENERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    **{f".jsonl{end}": _lines_with(opened, json_rows) for end, opened in _OPENERS.items()},
    **{f".txt{end}": _lines_with(opened, text_rows) for end, opened in _OPENERS.items()},
    ".parquet": _parquet_rows,
}
SUFFIXES = tuple(_READERS)
"""Kinds of files that are read."""


def suffix_of(path: Path) -> str:
    """Tell a file's kind by the end of its name.

    Raises:
        DataError: If it is none of ``SUFFIXES``.
    """
    name = path.name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise DataError(
        f"{path} is of no kind that can be read ({', '.join(SUFFIXES)}); convert or rename it"
    )
