"""Documents from files: .txt, .md, .jsonl plain or compressed. All or an error, nothing lost."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sac_rag.errors import InputFileError, InvalidTextError

_OPENERS: dict[str, Callable[..., Any]] = {
    ".jsonl": open,
    ".jsonl.gz": gzip.open,
    ".jsonl.xz": lzma.open,
}
_TEXTS = (".txt", ".md")
SUFFIXES = (*_TEXTS, *_OPENERS)
"""Kinds of files that are read."""

_BODIES = ("text", "documents", "context")
_BOM = "\ufeff"


@dataclass(frozen=True, kw_only=True)
class InputDocument:
    """A document and where it was read."""

    text: str
    """What it says."""
    title: str | None = None
    """Its title, if the record has one."""
    source: str
    """File, and line for records: ``notes/a.jsonl:3``."""

    @property
    def mapping(self) -> dict[str, str]:
        """The document as the engine takes it."""
        return {"text": self.text} | ({"title": self.title} if self.title else {})


@dataclass(frozen=True, kw_only=True)
class Found:
    """The files behind the paths that a user gave."""

    files: list[Path]
    """To be read, each once, in order."""
    skipped: list[Path]
    """Files of other kinds inside the folders given."""


def find_files(paths: Sequence[str]) -> Found:
    """Find the files to read: those given, and those in the folders given.

    Args:
        paths: Files and folders; hidden files in folders are passed over.

    Raises:
        InputFileError: If a path is empty, missing or of an unknown kind, or a folder holds
            nothing to read.
    """
    files: dict[Path, None] = {}
    skipped: list[Path] = []
    for name in paths:
        path = Path(name)
        if not name.strip():
            raise InputFileError("an input path is empty; give a file or a folder")
        if path.is_dir():
            inside = [one for one in sorted(path.rglob("*")) if one.is_file()]
            seen = [one for one in inside if not _is_hidden(one.relative_to(path))]
            readable = [one for one in seen if _suffix(one)]
            if not readable:
                raise InputFileError(
                    f"the folder {name} holds no {', '.join(SUFFIXES)} file "
                    f"({len(seen)} others); give one that does"
                )
            files |= dict.fromkeys(readable)
            skipped += [one for one in seen if not _suffix(one)]
        elif not path.exists():
            raise InputFileError(f"there is no file or folder {name}; check the path")
        elif not _suffix(path):
            raise InputFileError(
                f"{name} is of no kind that can be read ({', '.join(SUFFIXES)}); convert it to text"
            )
        else:
            files[path] = None
    return Found(files=list(files), skipped=skipped)


def read_documents(files: Sequence[Path]) -> Iterator[InputDocument]:
    """Read documents one after another, so that a large collection need not fit in memory.

    Raises:
        InputFileError: If a file is empty, unreadable or a record is not one, naming the line.
        InvalidTextError: If a file is not valid UTF-8, naming line and byte.
    """
    for path in files:
        try:
            yield from _read_text(path) if _suffix(path) in _TEXTS else _read_records(path)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InputFileError(
                f"{path} cannot be read ({error}); check that it is whole and that you may read it"
            ) from error


def read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Read a .jsonl file: (where, value) of each line that is not blank.

    Raises:
        InputFileError: If a line is not JSON, naming it.
        InvalidTextError: If a line is not valid UTF-8.
    """
    with _OPENERS[_suffix(path) or ".jsonl"](path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            where = f"{path}:{number}"
            line = _decode(raw, path=path, first_line=number)
            if not line.strip():
                continue
            try:
                yield where, json.loads(line)
            except ValueError as error:
                raise InputFileError(f"{where} is not valid JSON ({error}); mend it") from error


def _read_text(path: Path) -> Iterator[InputDocument]:
    yield _checked(_decode(path.read_bytes(), path=path), title=None, source=str(path))


def _read_records(path: Path) -> Iterator[InputDocument]:
    records = 0
    for where, record in read_lines(path):
        records += 1
        yield from _documents_of(record, where)
    if not records:
        raise InputFileError(f"{path} is empty; leave it out")


def _documents_of(record: Any, where: str) -> Iterator[InputDocument]:
    bodies = [name for name in _BODIES if isinstance(record, dict) and name in record]
    if len(bodies) != 1:
        found = f"the keys {sorted(record)}" if isinstance(record, dict) else _kind(record)
        raise InputFileError(
            f"{where} should be a record with one of 'text' (and perhaps 'title'), 'documents' or "
            f"'context', found {found}; rename the keys"
        )
    if bodies != ["documents"]:
        yield _checked(record[bodies[0]], title=record.get("title"), source=where)
        return
    items = record["documents"]
    if not isinstance(items, list) or not items:
        raise InputFileError(f"{where}: 'documents' should be a list of documents; mend it")
    for index, item in enumerate(items):
        place = f"{where} document {index + 1}"
        if isinstance(item, dict):
            yield _checked(item.get("text"), title=item.get("title"), source=place)
        else:
            yield _checked(item, title=None, source=place)


def _checked(text: Any, *, title: Any, source: str) -> InputDocument:
    if not isinstance(text, str) or not isinstance(title, str | None):
        raise InputFileError(
            f"{source}: text and title should be strings, found {_kind(text)} and {_kind(title)}; "
            "mend the record"
        )
    if not text.strip():
        raise InputFileError(f"{source} is empty: it holds no text; leave it out")
    for written in (text, title or ""):
        try:
            written.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"{source} is not valid Unicode: character {error.start} is the lone surrogate "
                f"{written[error.start]!r}; write the character itself"
            ) from error
    return InputDocument(text=text, title=title, source=source)


def _decode(raw: bytes, *, path: Path, first_line: int = 1) -> str:
    try:
        return raw.decode("utf-8").removeprefix(_BOM if first_line == 1 else "")
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        raise InvalidTextError(
            f"{path} is not valid UTF-8: line {line} holds the byte 0x{raw[error.start]:02x} "
            f"({error.reason}); convert it, for example with iconv -t UTF-8"
        ) from error


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
