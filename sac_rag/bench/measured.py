"""The speeds that ``sac-rag plan`` needs, out of the JSON of a bench."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sac_rag.errors import DataError, InputFileError

FORMAT_VERSION = 1
"""Of the JSON, see ``sac_rag.bench.report``."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a bench says that a plan can use."""

    subject: Mapping[str, Any]
    """Model, ratio, bytes of a token."""
    date: str
    machine: str
    quick: bool
    speeds: Mapping[str, float]
    """Fields of ``Speeds`` that were measured; a measurement that did not run leaves its out."""
    context: int | None
    """Tokens at which the prefill was measured: the nearest to what was asked."""
    anchor_bytes: float | None
    """Of one anchor on disk, all headers included."""


def read_bench(path: Path, *, context: int) -> Measured:
    """Read a bench.

    Args:
        path: What ``sac-rag bench --json`` wrote.
        context: Tokens of a query's chunks: the prefill measured nearest to it is taken.

    Raises:
        InputFileError: If there is no such file.
        DataError: If it is no bench, or of another version.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputFileError(
            f"there is no bench at {path}; make one with `sac-rag bench --json {path}`"
        ) from error
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}); give what `sac-rag bench --json` wrote"
        ) from error
    if not isinstance(report, dict) or report.get("format") != FORMAT_VERSION:
        raise DataError(
            f"{path} is no bench of format {FORMAT_VERSION}; make one with "
            f"`sac-rag bench --json {path}`"
        )
    rows = {section["name"]: list(section["rows"]) for section in report["sections"]}
    encoder, first = rows.get("encoder", []), rows.get("first-token", [])
    store = rows.get("store", [])
    read = _nearest(encoder, "plain prefill", context)
    speeds = {
        "encode_tokens_per_s": _figure(_nearest(encoder, "ours", context), "tokens_per_s"),
        "prefill_tokens_per_s": _figure(read, "tokens_per_s"),
        "load_bytes_per_s": _times(_figure(_nearest(store, "load, cached"), "gb_per_s"), 1e9),
        "question_s": _wall(_nearest(first, "question alone", context)),
    }
    per_token = _figure(_nearest(store, "anchors on disk"), "bytes_per_source_token")
    machine = report["machine"]
    return Measured(
        subject=report["subject"],
        date=report["date"],
        machine=f"{machine['processor']}, {machine['threads']} threads, {machine['device']}",
        quick=bool(report["quick"]),
        speeds={name: value for name, value in speeds.items() if value is not None},
        context=None if read is None else read["at"]["context"],
        anchor_bytes=_times(per_token, report["subject"]["ratio"]),
    )


def _nearest(
    rows: Iterable[Mapping[str, Any]], contender: str, context: int = 0
) -> Mapping[str, Any] | None:
    mine = [row for row in rows if row["contender"] == contender]
    return min(mine, key=lambda row: abs(row["at"].get("context", 0) - context), default=None)


def _figure(row: Mapping[str, Any] | None, name: str) -> float | None:
    return None if row is None else row["figures"].get(name)


def _wall(row: Mapping[str, Any] | None) -> float | None:
    return None if row is None or row["wall_s"] is None else row["wall_s"]["median"]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
