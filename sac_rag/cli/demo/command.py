"""``sac-rag demo``: the whole way through, on the model and documents that ship with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sac_rag.cli import options
from sac_rag.cli.demo.data import EMBEDDED, Question, read_demo, spread
from sac_rag.cli.demo.measure import (
    ROADS,
    Compression,
    Run,
    Summary,
    compress_one,
    run,
    summarize,
    warm_up,
)
from sac_rag.cli.demo.screen import Screen
from sac_rag.cli.demo.view import Bar, Lines, View
from sac_rag.cli.inputs import InputDocument
from sac_rag.cli.opening import open_engine
from sac_rag.cli.output import emit_json, out, progress, waiting

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine


def demo(
    docs: Annotated[
        str | None, typer.Option(metavar="DIR", help="Documents; by default a fictional atlas.")
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="JSON lines with question, answer, document; DIR/questions.jsonl."
        ),
    ] = None,
    number: Annotated[
        int, typer.Option("--number", "-n", min=0, help="How many questions to ask; 0 for all.")
    ] = 6,
    model: options.Model = "embedded",
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    max_new_tokens: options.MaxNewTokens = 32,
    as_json: options.Json = False,
) -> None:
    """Compress a small folder and ask it questions, from anchors beside the full text."""
    documents, known = read_demo(docs or str(EMBEDDED), questions)
    asked = spread(known, number)
    with (
        tempfile.TemporaryDirectory(prefix="sac-rag-demo-") as folder,
        open_engine(
            model=model, adapter=adapter, ratio=ratio, device=device, dtype=dtype, store=folder
        ) as engine,
        _view(as_json, steps=len(documents) + len(ROADS) * len(asked)) as view,
    ):
        view.begin(engine, num_documents=len(documents))
        with waiting("warming up ..."):
            warm_up(engine, asked[0])
        rows = _compress(engine, documents, view)
        runs = _ask(engine, asked, view, max_new_tokens=max_new_tokens)
        summary = summarize(runs)
        view.end(summary)
        if as_json:
            emit_json(_report(engine, rows, asked, runs, summary))


def _compress(
    engine: SACEngine, documents: Sequence[InputDocument], view: View
) -> list[Compression]:
    rows = []
    for document in documents:
        rows.append(compress_one(engine, document))
        view.compressed(rows[-1])
    view.all_compressed(rows)
    return rows


def _ask(
    engine: SACEngine, asked: Sequence[Question], view: View, *, max_new_tokens: int
) -> list[list[Run]]:
    runs: list[list[Run]] = []
    for number, question in enumerate(asked, start=1):
        view.ask(number, len(asked), question)
        row = []
        for road in ROADS:
            show = partial(view.piece, road)
            row.append(run(engine, question, road, max_new_tokens=max_new_tokens, on_piece=show))
            view.answered(row[-1])
        view.end_question()
        runs.append(row)
    return runs


@contextmanager
def _view(as_json: bool, *, steps: int) -> Iterator[View]:
    console = out()
    if as_json:
        with progress(what="demo", total=steps) as bar:
            yield Bar(bar)
        return
    view = Screen(console) if console.is_terminal else Lines(console)
    try:
        yield view
    finally:
        view.close()


def _report(
    engine: SACEngine,
    rows: Sequence[Compression],
    asked: Sequence[Question],
    runs: Sequence[Sequence[Run]],
    summary: Summary,
) -> dict[str, Any]:
    return {
        "model": engine.name,
        "ratio": engine.ratio,
        "fingerprint": engine.fingerprint,
        "device": str(engine.adapter.backbone.device),
        "documents": [asdict(row) for row in rows],
        "questions": [
            {
                "question": question.question,
                "right_answer": question.answer,
                "document": question.source,
                "runs": [one.to_dict() for one in row],
            }
            for question, row in zip(asked, runs, strict=True)
        ],
        "summary": summary.to_dict(),
    }
