"""Where records come from: local files, datasets of the hub, generated ones. One contract."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from sac_rag.data.hub import HUB_SCHEME, HubSource
from sac_rag.data.rows import SUFFIXES, Row, rows_of, suffix_of
from sac_rag.data.synthetic import SYNTHETIC_SCHEME, SyntheticSource
from sac_rag.errors import DataError

_SAMPLE_BYTES = 1 << 20


class Source(Protocol):
    """Rows, and what tells them from other rows."""

    @property
    def name(self) -> str:
        """How messages and reports call it."""
        ...

    @property
    def label(self) -> str:
        """The set that its records belong to, where they do not say."""
        ...

    def rows(self) -> Iterator[Row]:
        """Read it from the start."""
        ...

    def identity(self) -> dict[str, Any]:
        """Give what tells its content from another's, as plain JSON values."""
        ...


SourceLike = str | Path | Source


@dataclass(frozen=True)
class FileSource:
    """A local file."""

    path: Path
    """Where it is."""

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def label(self) -> str:
        """Its name without the ending."""
        return self.path.name[: -len(suffix_of(self.path))]

    def rows(self) -> Iterator[Row]:
        """Read its rows; see ``sac_rag.data.rows``."""
        return rows_of(self.path)

    def identity(self) -> dict[str, Any]:
        """Give name, size, time of the last change, and a hash of both ends.

        Hashing all of a corpus at each start would take longer than it is worth.

        Raises:
            DataError: If the file cannot be read.
        """
        try:
            stat = self.path.stat()
            digest = sha256()
            with self.path.open("rb") as file:
                digest.update(file.read(_SAMPLE_BYTES))
                file.seek(max(0, stat.st_size - _SAMPLE_BYTES))
                digest.update(file.read(_SAMPLE_BYTES))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error}); check the path") from error
        return {
            "file": self.path.name,
            "bytes": stat.st_size,
            "changed_ns": stat.st_mtime_ns,
            "ends": digest.hexdigest(),
        }


def open_sources(sources: SourceLike | Sequence[SourceLike]) -> list[Source]:
    """Turn what a user gave into sources, in order.

    Args:
        sources: Files, folders, patterns (``texts/*.parquet``), ``hub://owner/name?split=train``,
            ``synthetic://qa?records=100&seed=0``, or sources.

    Raises:
        DataError: If one is missing or of an unknown kind, or a folder or pattern has no file.
    """
    listed = sources if isinstance(sources, list | tuple) else [sources]
    opened = [one for source in listed for one in _open(source)]  # type: ignore[arg-type]
    if not opened:
        raise DataError("no data was given; name at least one file or hub dataset")
    return opened


def _open(source: SourceLike) -> list[Source]:
    if not isinstance(source, str | Path):
        return [source]
    text = str(source)
    if isinstance(source, str) and "://" in text:
        scheme = text.partition("://")[0]
        if scheme not in _SCHEMES:
            raise DataError(
                f"asked for data at {text}; known are plain paths and "
                f"{', '.join(f'{name}://' for name in _SCHEMES)}"
            )
        return [_SCHEMES[scheme](text)]
    path = Path(text).expanduser()
    if not text.strip():
        raise DataError("a data path is empty; give a file, folder or pattern")
    if path.is_dir():
        inside = [one for one in sorted(path.rglob("*")) if one.name.lower().endswith(SUFFIXES)]
        return _files([one for one in inside if one.is_file()], f"the folder {path}")
    if not path.exists() and glob.has_magic(text):
        found = sorted(glob.glob(str(path), recursive=True))
        return _files([Path(one) for one in found], f"the pattern {text}")
    suffix_of(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path")
    return [FileSource(path)]


def _files(paths: list[Path], asked: str) -> list[Source]:
    if not paths:
        raise DataError(f"{asked} holds no file of a kind that is read ({', '.join(SUFFIXES)})")
    for path in paths:
        suffix_of(path)
    return [FileSource(path) for path in paths]


_SCHEMES = {HUB_SCHEME: HubSource.parse, SYNTHETIC_SCHEME: SyntheticSource.parse}
"""The one place where a kind of source is added."""
