"""``sac-rag ask``: one question about some documents, the answer as it comes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sac_rag.cli import options
from sac_rag.cli.compress import note_skipped
from sac_rag.cli.inputs import InputDocument, find_files, read_documents
from sac_rag.cli.opening import note_lossy, open_engine
from sac_rag.cli.output import emit_json, err, printable, seconds, size, waiting
from sac_rag.errors import ConfigError, EmptyInputError

if TYPE_CHECKING:
    from sac_rag.engine import Answer, SACEngine, Usage
    from sac_rag.engine.requests import DocumentLike

SETTINGS = {"context_settings": {"allow_extra_args": True}}
"""For typer: words beyond the question are documents, as in ``--docs a.md b.md``."""

_SAMPLING = "Sampling"


def ask(
    ctx: typer.Context,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What to ask.", show_default=False)
    ] = None,
    docs: Annotated[
        list[str] | None,
        typer.Option(metavar="PATHS...", help="Files or folders to answer from."),
    ] = None,
    store: options.Store = None,
    codec: options.Codec = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read the documents in full instead of as anchors.")
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="ANCHORS",
            help="Most anchors for all documents: each gets the finest ratio that fits.",
            show_default=False,
        ),
    ] = None,
    stream: Annotated[bool, typer.Option(help="Print the answer as it comes.")] = True,
    model: options.Model = "embedded",
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    namespace: options.Namespace = "default",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    max_new_tokens: options.MaxNewTokens = 64,
    temperature: Annotated[
        float, typer.Option(min=0, help="0: the likeliest.", rich_help_panel=_SAMPLING)
    ] = 0.0,
    top_p: Annotated[float | None, typer.Option(rich_help_panel=_SAMPLING)] = None,
    top_k: Annotated[int | None, typer.Option(rich_help_panel=_SAMPLING)] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=_SAMPLING)] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends it.", rich_help_panel=_SAMPLING)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Ask a question about documents; the answer is streamed, then a line of usage.

    sac-rag ask "Who founded Dralbeck?" --docs notes/ more.md
    """
    question, paths = _question_first(question, [*(docs or []), *ctx.args])
    _check_budget(budget, full=full, ratio=ratio)
    found = find_files(paths)
    note_skipped(found)
    documents = list(read_documents(found.files))
    sampling = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
        "stop": tuple(stop or ()),
    }
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
        show = stream and not as_json
        texts = [document.mapping for document in documents]
        given = texts if budget is None else engine.plan(texts, anchors=budget)
        answer = _answer(engine, question, given, compress=not full, show=show, **sampling)
        lossy = engine.store.stats.lossy
    if as_json:
        emit_json(_report(question, answer, documents, full=full))
        return
    if not stream:
        _write(answer.text)
    _write("\n")
    err().print(usage_line(answer.usage), style="dim")
    note_lossy(lossy)


def usage_line(usage: Usage) -> str:
    """Write what an answer took, in one line of at most 80 characters for ordinary numbers."""
    read = f"{usage.prompt_tokens:,} tokens in full"
    if usage.anchors:
        came = "encoded" if usage.anchors_encoded else "stored"
        read = f"{usage.source_tokens:,} tokens -> {usage.anchors:,} anchors ({came})"
    return (
        f"{read}, {size(usage.cache_bytes)}, first token {seconds(usage.ttft_s)}, "
        f"all {usage.completion_tokens} in {seconds(usage.ttft_s + usage.decode_s)}"
    )


def _question_first(question: str | None, paths: list[str]) -> tuple[str, list[str]]:
    """Sort out the words: ``QUESTION --docs A B`` as documented, and ``--docs A QUESTION``."""
    if question is None:
        raise EmptyInputError('there is no question; write sac-rag ask "QUESTION" --docs PATHS...')
    if not question.strip():
        raise EmptyInputError("the question is empty; ask something")
    if not paths:
        raise EmptyInputError(
            'there are no documents to answer from; write sac-rag ask "QUESTION" --docs PATHS...'
        )
    last = paths[-1]
    if len(paths) > 1 and Path(question).exists() and not Path(last).exists():
        return last, [question, *paths[:-1]]
    return question, paths


def _check_budget(budget: int | None, *, full: bool, ratio: int | None) -> None:
    other = "--full" if full else None if ratio is None else f"--ratio {ratio}"
    if budget is not None and other:
        raise ConfigError(
            f"got --budget {budget} and {other}: a budget chooses the ratios itself; leave one out"
        )


def _answer(
    engine: SACEngine,
    question: str,
    texts: Sequence[DocumentLike],
    *,
    compress: bool,
    show: bool,
    **sampling: Any,
) -> Answer:
    if not show:
        with waiting("answering ..."):
            return engine.answer(question, texts, compress=compress, **sampling)
    with engine.stream(question, texts, compress=compress, **sampling) as pieces:
        with waiting("reading the documents ..."):
            first = next(pieces, "")
        _write(first)
        for piece in pieces:
            _write(piece)
    assert pieces.answer is not None
    return pieces.answer


def _write(text: str) -> None:
    """Print text as it is; to a terminal, without what would steer it."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def _report(
    question: str, answer: Answer, documents: list[InputDocument], *, full: bool
) -> dict[str, Any]:
    return {
        "question": question,
        "answer": answer.text,
        "from": "full context" if full else "anchors",
        "documents": [document.source for document in documents],
        "stop_reason": answer.stop_reason,
        "usage": {**answer.usage.to_dict(), "ttft_s": answer.usage.ttft_s},
    }
