"""What every command prints with: consoles, JSON, and numbers as people read them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sac_rag.errors import StoreWriteError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def out() -> Console:
    """Give the console of results: stdout, without colours where it is no terminal."""
    return Console(markup=False, highlight=False, emoji=False)


def err() -> Console:
    """Give the console of progress, notes and errors: stderr."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def emit_json(data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON value on stdout; ASCII alone where the terminal knows no more."""
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=plain) + "\n")
    sys.stdout.flush()


def write_report(text: str, path: Path) -> None:
    """Write a report where a user wants it.

    Raises:
        StoreWriteError: If it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreWriteError(
            f"the report cannot be written to {path}: {error}; give another place"
        ) from error


def table(*columns: str, **settings: Any) -> Table:
    """Make a table in the look of this command; a column named ``<text`` is aligned left."""
    made = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", **settings
    )
    for name in columns:
        left = name.startswith("<")
        made.add_column(
            name.removeprefix("<"),
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=not left,
        )
    return made


@contextmanager
def progress(*, what: str, total: int) -> Iterator[Progress]:
    """Show a bar on stderr while many things are done; nothing where it is no terminal."""
    console = err()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    bar.add_task(what, total=total)
    with bar:
        yield bar


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr that something of unknown length goes on."""
    console = err()
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def one_line(text: str) -> str:
    """Join lines, so that a message is one line whatever it quotes."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """Replace control characters: an answer is data and must not steer the terminal.

    >>> printable("a\\x1b[31mb\\n")
    'a\\ufffd[31mb\\n'
    """
    return _CONTROL.sub("\ufffd", text)


def size(nbytes: float) -> str:
    """Write bytes, three digits of them.

    >>> size(999), size(92_160), size(331_776), size(1_500_000), size(999_999)
    ('999 B', '92.2 kB', '332 kB', '1.5 MB', '1.0 MB')
    """
    if nbytes < 999.5:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 999.5:
            return f"{nbytes:.1f} {unit}" if nbytes < 99.95 else f"{nbytes:.0f} {unit}"
    return f"{nbytes / 1000:.1f} TB"


def seconds(duration_s: float) -> str:
    """Write a duration, two or three digits of it.

    >>> seconds(0.00123), seconds(0.0415), seconds(0.5), seconds(2.5), seconds(300)
    ('1.2 ms', '42 ms', '500 ms', '2.50 s', '5.0 min')
    """
    if duration_s < 0.9995:
        digits = 1 if duration_s < 0.00995 else 0
        return f"{duration_s * 1000:.{digits}f} ms"
    return f"{duration_s:.2f} s" if duration_s < 120 else f"{duration_s / 60:.1f} min"


def count(number: int, thing: str) -> str:
    """Write a number of things.

    >>> count(1, "document"), count(4812, "token")
    ('1 document', '4,812 tokens')
    """
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
