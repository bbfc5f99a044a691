"""``sac-rag store``: look at a store, check it, clean it. Loads no torch to list."""

from __future__ import annotations

import re
import textwrap
import time
from dataclasses import asdict
from typing import Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.fit_basis import fit_basis
from sac_rag.cli.opening import open_existing
from sac_rag.cli.output import count, emit_json, err, out, progress, size, table
from sac_rag.errors import AnchorNotFoundError, ConfigError, SACError
from sac_rag.store import AnchorStore, StoredText, StoreEntry
from sac_rag.store.anchors import TEXT

store = typer.Typer(
    help="List, verify and clean a store of anchors; fit a basis for its codec pca.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)

store.command("fit-basis")(fit_basis)

Where = Annotated[str, typer.Argument(metavar="STORE", help="The store's folder.")]

_SHORT = 12
_READ = 500
_OTHER_COLUMNS = 62
_SHORTEST = 4
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@store.callback()
def _top(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@store.command("ls")
def list_entries(
    where: Where,
    limit: Annotated[
        int, typer.Option(min=0, help="Most rows of the table; 0 for all. JSON has all.")
    ] = 50,
    as_json: options.Json = False,
) -> None:
    """List the documents in a store, the last used first."""
    with open_existing(where) as found:
        entries = sorted(found.entries(), key=lambda entry: -entry.last_used_s)
        if as_json:
            rows = [{**asdict(entry), "nbytes": entry.nbytes} for entry in entries]
            emit_json({"store": where, "entries": rows, "bytes": sum(e.nbytes for e in entries)})
            return
        shown = entries[: limit or None]
        rows = table("<key", "tokens", "anchors", "bytes", "<codec", "used", "<document")
        console = out()
        for entry in shown:
            rows.add_row(*_row(entry, found, width=max(10, console.width - _OTHER_COLUMNS)))
        console.print(rows)
    if len(shown) < len(entries):
        console.print(f"... and {len(entries) - len(shown):,} more (--limit 0 shows all)")
    console.print()
    console.print(f"{count(len(entries), 'document')}, {size(sum(e.nbytes for e in entries))}")


@store.command()
def verify(where: Where, as_json: options.Json = False) -> None:
    """Read every entry in full; exit code 1 if one is damaged."""
    with open_existing(where) as found:
        checks = []
        with progress(what="verifying", total=2 * len(found)) as bar:
            for check in found.verify():
                checks.append(check)
                bar.advance(bar.task_ids[0])
    damaged = [check for check in checks if check.error]
    if as_json:
        emit_json(
            {"store": where, "checked": len(checks), "damaged": [asdict(one) for one in damaged]}
        )
    else:
        console = out()
        for one in damaged:
            console.print(f"damaged: {one.part} of {one.key}: {one.error}", soft_wrap=True)
        console.print(f"{count(len(checks), 'piece')} read in full, {len(damaged)} damaged")
        if damaged:
            err().print("asked for again, damaged anchors are encoded again; rm removes them")
    if damaged:
        raise typer.Exit(1)


@store.command()
def gc(
    where: Where,
    max_bytes: Annotated[
        str | None, typer.Option(help="Shrink to this size, e.g. 500MB; longest unused go first.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(help="Remove what nobody used for so long, e.g. 30d or 12h.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remove leftovers of killed writers, old entries, and what is beyond a size."""
    bound = None if max_bytes is None else _parsed("--max-bytes", max_bytes, _UNITS, "500MB")
    age_s = None if max_age is None else _parsed("--max-age", max_age, _AGES, "30d")
    with open_existing(where) as found:
        report = found.gc(max_bytes=bound, max_age_s=age_s)
    if as_json:
        emit_json({"store": where, **asdict(report)})
    else:
        out().print(
            f"removed the anchors of {count(report.anchors, 'document')}, "
            f"{count(report.texts, 'text')}, {count(report.leftovers, 'leftover')}: "
            f"{size(report.freed_bytes)}"
        )


@store.command()
def rm(
    where: Where,
    keys: Annotated[list[str], typer.Argument(help="Keys, or their beginnings, as ls shows them.")],
    as_json: options.Json = False,
) -> None:
    """Remove documents from a store: anchors and text."""
    with open_existing(where) as found:
        present = [entry.key for entry in found.entries()]
        doomed = [_the_key(start, present) for start in keys]
        for key in doomed:
            found.delete(key)
    if as_json:
        emit_json({"store": where, "removed": doomed})
    else:
        out().print(f"removed {count(len(doomed), 'document')}")


def _row(entry: StoreEntry, found: AnchorStore, *, width: int) -> tuple[str, ...]:
    return (
        entry.key[:_SHORT],
        "?" if entry.num_tokens is None else f"{entry.num_tokens:,}",
        "?" if entry.num_anchors is None else f"{entry.num_anchors:,}",
        size(entry.nbytes),
        entry.codec or "?",
        _ago(time.time() - entry.last_used_s),
        textwrap.shorten(_beginning(entry.key, found), width, placeholder=" ..."),
    )


def _beginning(key: str, found: AnchorStore) -> str:
    """Show title or first words of a kept text; a peek, which counts as no use."""
    try:
        blob = found.backend.peek(TEXT + key)
        kept = None if blob is None else StoredText.from_bytes(blob)
    except SACError:
        return "(damaged)"
    return "(text not kept)" if kept is None else kept.title or kept.text[:_READ]


def _the_key(start: str, present: list[str]) -> str:
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},32}}", start):
        raise ConfigError(
            f"asked to remove {start!r}: a key is 32 hex digits, and its first {_SHORTEST} are "
            "enough; copy one from `sac-rag store ls`"
        )
    matching = [key for key in present if key.startswith(start)]
    if not matching:
        raise AnchorNotFoundError(
            f"asked to remove {start!r}: none of the {len(present):,} documents has such a key; "
            "nothing was removed; see `sac-rag store ls`"
        )
    if len(matching) > 1:
        raise ConfigError(
            f"asked to remove {start!r}: {len(matching)} documents have keys that begin so; "
            "nothing was removed; give more digits"
        )
    return matching[0]


def _parsed(option: str, text: str, units: dict[str, int], example: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ConfigError(
            f"{option} {text!r} is no number with a unit ({known}); write it like {example}"
        )
    return int(float(match[1]) * units[match[2]])


def _ago(age_s: float) -> str:
    for unit, length_s in reversed(_AGES.items()):
        if age_s >= length_s:
            return f"{age_s // length_s:.0f} {unit} ago"
    return "now"
