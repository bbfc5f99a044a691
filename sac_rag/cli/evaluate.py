"""``sac-rag eval``: adapters against full context and no context, on the same questions."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.opening import open_engine
from sac_rag.cli.output import emit_json, out, progress, write_report
from sac_rag.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from sac_rag.eval import Report


def eval_(
    data: Annotated[
        list[str], typer.Option(metavar="FILE", help="Questions; again for more files.")
    ],
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="A SAC adapter; again for more of them."),
    ] = None,
    model: options.Model = "embedded",
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Rows beside full and none: kinds of adapters (sac, epl, 500x, icae), llmlingua2; "
            "every adapter given.",
        ),
    ] = "",
    ratios: Annotated[
        str,
        typer.Option(
            metavar="5,15,51",
            help="Tokens per anchor, and per token that llmlingua2 keeps; each adapter's own.",
        ),
    ] = "",
    classifier: Annotated[
        str, typer.Option(metavar="PATH", help="LLMLingua-2's model; the published XLM-R.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="Questions at most; 0 for all.")] = 0,
    max_new_tokens: options.MaxNewTokens = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions answered together.")] = 8,
    output: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Keep answers and report; resumes from there."),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    json_file: options.JsonFile = None,
) -> None:
    """Score adapters beside full context (ceiling) and no context (floor).

    llmlingua2 is hard compression: documents cut down to their most telling words, read as text.

    EM and F1 are the paper's raw scores, squad EM and F1 the normalised ones over all references;
    each with a bootstrap interval, macro over the sets of the data.
    """
    from sac_rag.cli.rows import Rows
    from sac_rag.data import read_qa

    rows = Rows.read(methods=methods, ratios=ratios, classifier=classifier)
    adapters = _named(adapter)
    rows.check(model, adapters)
    asked = [(*one, ratio) for one in adapters for ratio in rows.ratios_of(model, one)]
    records = list(islice(read_qa(data), limit or None))
    folder = Path(output) if output else None
    report = None
    for name, path, ratio in asked:
        with open_engine(
            model=model, adapter=path, ratio=ratio, device=device, dtype=dtype
        ) as engine:
            from sac_rag.eval import Report, evaluate

            askers = rows.of(engine, name=name, known=report.methods if report else ())
            if not askers:
                continue
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
    if str(json_file) == "-":
        emit_json(report.to_json())
        return
    out().print(report.to_text(), soft_wrap=True)
    if json_file is not None:
        write_report(json.dumps(report.to_json(), indent=2) + "\n", json_file)


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


def _write(report: Report, folder: Path) -> None:
    write_report(json.dumps(report.to_json(), indent=2) + "\n", folder / "report.json")
    tables = f"{report.to_markdown()}\n\n{report.sources_markdown()}\n"
    write_report(tables, folder / "report.md")
