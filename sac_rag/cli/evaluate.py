"""``sac-rag eval``: adapters against full context and no context, on the same questions."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.opening import open_engine
from sac_rag.cli.output import emit_json, out, progress
from sac_rag.errors import ConfigError, StoreWriteError

if TYPE_CHECKING:
    from rich.progress import Progress

    from sac_rag.engine import SACEngine
    from sac_rag.eval import Report


def eval_(
    data: Annotated[
        list[str], typer.Option(metavar="FILE", help="Questions; again for more files.")
    ],
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="A SAC adapter; again for more of them."),
    ] = None,
    ratios: Annotated[
        str,
        typer.Option(metavar="5,15,51", help="Tokens per anchor to try; each adapter's own."),
    ] = "",
    model: options.Model = "embedded",
    limit: Annotated[int, typer.Option(min=0, help="Questions at most; 0 for all.")] = 0,
    max_new_tokens: options.MaxNewTokens = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions answered together.")] = 8,
    output: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Keep answers and report; resumes from there."),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Score adapters beside full context (ceiling) and no context (floor).

    EM and F1 are the paper's raw scores, squad EM and F1 the normalised ones over all references;
    each with a bootstrap interval, macro over the sets of the data.
    """
    from sac_rag.data import read_qa

    asked = [(*one, ratio) for one in _named(adapter) for ratio in _ratios(ratios)]
    records = list(islice(read_qa(data), limit or None))
    folder = Path(output) if output else None
    report = None
    for name, path, ratio in asked:
        with open_engine(
            model=model, adapter=path, ratio=ratio, device=device, dtype=dtype
        ) as engine:
            from sac_rag.eval import Report, compressed, evaluate, full, none

            askers = {} if report else {"full": full(engine), "none": none(engine)}
            askers[_shown(name, engine, several="," in ratios)] = compressed(engine)
            with progress(what="eval", total=len(askers) * len(records)) as bar:
                steps = _Steps(bar, list(askers), len(records))
                found = evaluate(
                    askers,
                    records,
                    batch_size=batch_size,
                    max_new_tokens=max_new_tokens,
                    outputs=folder,
                    on_progress=steps,
                )
        earlier = {} if report is None else report.methods
        report = Report(methods={**earlier, **found.methods}, max_new_tokens=found.max_new_tokens)
    assert report is not None
    if folder:
        _write(report, folder)
    if as_json:
        emit_json(report.to_json())
    else:
        out().print(report.to_text(), soft_wrap=True)


class _Steps:
    """Moves a bar by what methods report."""

    def __init__(self, bar: Progress, methods: list[str], num_records: int) -> None:
        self._bar, self._methods, self._num_records = bar, methods, num_records

    def __call__(self, method: str, done: int, total: int) -> None:
        before = self._methods.index(method) * self._num_records
        self._bar.update(self._bar.task_ids[0], completed=before + done)


def _named(adapters: list[str] | None) -> list[tuple[str, str | None]]:
    named = []
    for one in adapters or [""]:
        name, equals, path = one.partition("=")
        named.append((name, path) if equals else ("", one or None))
    names = [name for name, _ in named if name]
    if len(set(names)) != len(names):
        raise ConfigError(f"two adapters have one name, got {', '.join(names)}; name them apart")
    return named


def _ratios(words: str) -> list[int | None]:
    """Read ``5,15,51``; nothing is each adapter's own."""
    if not words.strip():
        return [None]
    found = [int(word) for word in words.split(",") if word.strip().isdecimal()]
    if len(found) != len(words.split(",")) or len(set(found)) != len(found) or 0 in found:
        raise ConfigError(f"--ratios takes different whole numbers, e.g. 5,15,51, got {words!r}")
    return [*found]


def _shown(name: str, engine: SACEngine, *, several: bool) -> str:
    """Name a row of the table: the adapter's name or what it is, and at which ratio."""
    config = engine.adapter.config
    ratio = f"-{engine.ratio}x"
    if name:
        return f"{name}{ratio if several else ''}"
    return f"{config.method}{ratio}{'-query-aware' if config.query_aware else ''}"


def _write(report: Report, folder: Path) -> None:
    try:
        text = json.dumps(report.to_json(), indent=2) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        tables = f"{report.to_markdown()}\n\n{report.sources_markdown()}\n"
        (folder / "report.md").write_text(tables, encoding="utf-8")
    except OSError as error:
        raise StoreWriteError(f"the report cannot be written to {folder}: {error}") from error
