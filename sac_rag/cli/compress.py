"""``sac-rag compress``: documents into a store, all of them checked before the first is encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sac_rag.cli import options
from sac_rag.cli.inputs import Found, InputDocument, find_files, read_documents
from sac_rag.cli.opening import open_engine
from sac_rag.cli.output import count, emit_json, err, out, progress, seconds, size, table, waiting
from sac_rag.codecs.names import EXACT

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine
    from sac_rag.engine.compressor import Compressed
    from sac_rag.store import StoreEntry

_BATCH_CHARACTERS = 32_000
_SHOWN = 20


def compress(
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders: .txt, .md, .jsonl, .jsonl.gz, .jsonl.xz.")
    ],
    store: Annotated[str, typer.Option(metavar="DIR", help="Folder to keep the anchors in.")],
    model: options.Model = "embedded",
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    codec: options.Codec = None,
    namespace: options.Namespace = "default",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Compress documents once and keep their anchors in a store."""
    found = find_files(paths)
    note_skipped(found)
    with waiting("reading ..."):
        # a first reading of everything: a bad file at the end must not stop a run half way
        total = sum(1 for _ in read_documents(found.files))
    with open_engine(
        model=model,
        adapter=adapter,
        ratio=ratio,
        device=device,
        dtype=dtype,
        store=store,
        namespace=namespace,
        codec=codec,
    ) as engine:
        rows = []
        with progress(what="compressing", total=total) as bar:
            for batch in in_batches(read_documents(found.files)):
                rows += _compress(engine, batch, codec)
                bar.advance(bar.task_ids[0], len(batch))
        fingerprint, wanted_ratio = engine.fingerprint, engine.ratio
    if as_json:
        emit_json(
            {
                "store": store,
                "namespace": namespace,
                "ratio": wanted_ratio,
                "fingerprint": fingerprint,
                "documents": rows,
                "skipped": [str(path) for path in found.skipped],
                "total": _total(rows),
            }
        )
    else:
        _show(rows, store)


def note_skipped(found: Found) -> None:
    """Say on stderr which files of the folders given are not read."""
    if found.skipped:
        names = ", ".join(path.name for path in found.skipped[:3])
        more = ", ..." if len(found.skipped) > 3 else ""
        err().print(f"skipped {count(len(found.skipped), 'file')} of other kinds: {names}{more}")


def _compress(
    engine: SACEngine, batch: list[InputDocument], codec: str | None
) -> list[dict[str, Any]]:
    rows = []
    made = engine.compress_each([document.mapping for document in batch])
    for document, one in zip(batch, made, strict=True):
        if one.write_error is not None:
            raise one.write_error
        entry = _entry(engine, one, codec)
        rows.append(
            {
                "document": document.source,
                "key": one.key,
                "tokens": one.cache.num_tokens,
                "anchors": len(one.cache),
                "bytes": one.cache.nbytes,
                "stored_bytes": entry.anchor_bytes if entry else 0,
                "codec": entry.codec if entry else None,
                "encoded": one.encoded,
                "seconds": one.encode_s + one.load_s,
            }
        )
    return rows


def _entry(engine: SACEngine, one: Compressed, codec: str | None) -> StoreEntry | None:
    """Look at what is stored, written anew if it was exact and a codec was asked for."""
    store, key = engine.store, str(one.key)
    entry = store.entry(key)
    if codec is None or entry is None or entry.codec != EXACT or store.codec == EXACT:
        return entry
    if not one.encoded:
        store.put(key, one.cache, inv_freq=engine.inv_freq)
    return store.entry(key)


def in_batches(documents: Iterable[InputDocument]) -> Iterator[list[InputDocument]]:
    """Group documents, so that short ones are encoded together and the bar still moves."""
    batch: list[InputDocument] = []
    for document in documents:
        batch.append(document)
        if sum(len(one.text) for one in batch) >= _BATCH_CHARACTERS:
            yield batch
            batch = []
    if batch:
        yield batch


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    total = {
        name: sum(row[name] for row in rows)
        for name in ("tokens", "anchors", "bytes", "stored_bytes")
    }
    encoded = sum(row["encoded"] for row in rows)
    return {
        "documents": len(rows),
        **total,
        "encoded": encoded,
        "already_stored": len(rows) - encoded,
        "seconds": sum(row["seconds"] for row in rows),
    }


def _show(rows: list[dict[str, Any]], store: str) -> None:
    console = out()
    shown = table("<document", "tokens", "anchors", "stored", "<codec", "time", "")
    # where all lie in one folder, its name need not stand in every row
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(row["document"])) for row in rows])
    for row in rows[:_SHOWN]:
        shown.add_row(
            os.path.relpath(row["document"], folder),
            f"{row['tokens']:,}",
            f"{row['anchors']:,}",
            size(row["stored_bytes"]),
            row["codec"] or "?",
            seconds(row["seconds"]),
            "" if row["encoded"] else "was stored",
        )
    console.print(shown)
    if len(rows) > _SHOWN:
        console.print(f"... and {len(rows) - _SHOWN:,} more (all of them with --json)")
    total = _total(rows)
    console.print()
    console.print(
        f"{count(total['documents'], 'document')}: {total['tokens']:,} tokens -> "
        f"{total['anchors']:,} anchors, {size(total['stored_bytes'])}"
    )
    console.print(
        f"{total['encoded']:,} encoded, {total['already_stored']:,} already stored, "
        f"{seconds(total['seconds'])}; in {store}",
        soft_wrap=True,
    )
