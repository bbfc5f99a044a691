"""``sac-rag bench``: what compression costs and saves here, beside what one would use instead."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.opening import loading
from sac_rag.cli.output import err, out, progress, waiting, write_report
from sac_rag.errors import ConfigError

if TYPE_CHECKING:
    from sac_rag.bench.report import BenchReport
    from sac_rag.bench.run import Comparison
    from sac_rag.bench.settings import Settings
    from sac_rag.bench.shapes import Subject

_SIZES, _QUALITY, _MODEL = "Sizes", "Equal bytes", "Model"


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAMES]...",
            help="encoder, first-token, decoding, store, growth, equal-bytes; all by default.",
        ),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(
            help="embedded, llama-1b-shape (random weights), a folder or a hub id.",
            rich_help_panel=_MODEL,
        ),
    ] = "embedded",
    layers: Annotated[
        int | None,
        typer.Option(min=2, help="Keep so many layers of a random shape.", rich_help_panel=_MODEL),
    ] = None,
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    contexts: Annotated[
        str, typer.Option(metavar="1k,8k", help="Context tokens.", rich_help_panel=_SIZES)
    ] = "",
    new_tokens: Annotated[
        int | None, typer.Option(min=2, help="Tokens decoded.", rich_help_panel=_SIZES)
    ] = None,
    readers: Annotated[
        str, typer.Option(metavar="1,8,64", help="Threads at a store.", rich_help_panel=_SIZES)
    ] = "",
    processes: Annotated[
        str, typer.Option(metavar="1,8", help="Processes at a store.", rich_help_panel=_SIZES)
    ] = "",
    entries: Annotated[
        str, typer.Option(metavar="100,1k", help="Entries of a store.", rich_help_panel=_SIZES)
    ] = "",
    documents: Annotated[
        str, typer.Option(metavar="1,2,4", help="Documents per query.", rich_help_panel=_SIZES)
    ] = "",
    batches: Annotated[
        str, typer.Option(metavar="1,4", help="Requests together.", rich_help_panel=_SIZES)
    ] = "",
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Questions; those of the atlas.", rich_help_panel=_QUALITY
        ),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER", help="Another adapter of the base.", rich_help_panel=_QUALITY
        ),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option(min=0, help="Questions at most; 0 for all.", rich_help_panel=_QUALITY),
    ] = None,
    cartridge_steps: Annotated[
        int,
        typer.Option(min=0, help="Train peft cartridges so long.", rich_help_panel=_QUALITY),
    ] = 0,
    study: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Questions that cartridges study, of the same documents.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option("--compiled", help="Measure the encoder compiled as well (minutes)."),
    ] = None,
    fast_greedy: Annotated[
        bool | None,
        typer.Option(
            "--fast-greedy", help="Measure a CPU's decoder with packed weights and head as well."
        ),
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Rounds of each race.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Begin no new round of a race after so long.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look, too short for claims.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    json_file: options.JsonFile = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write Markdown here, not to stdout.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw into this folder (matplotlib).")
    ] = None,
) -> None:
    """Measure encoder, first token, decoding, store, growth, and answers at equal bytes.

    Ratios between contenders that run in turn are the claim, not seconds. JSON feeds sac-rag plan.
    """
    with waiting("loading the libraries ..."):
        import torch

        from sac_rag.bench.run import MEASUREMENTS, check_names, run_bench

    check_names(names or [])
    if threads:
        torch.set_num_threads(threads)
    sizes = {
        "contexts": contexts,
        "readers": readers,
        "processes": processes,
        "entries": entries,
        "documents": documents,
        "batches": batches,
    }
    settings = _settings(
        quick=quick,
        sizes={name: _numbers(name, words) for name, words in sizes.items() if words},
        changes={
            "new_tokens": new_tokens,
            "questions": questions,
            "cartridge_steps": cartridge_steps,
            "compiled": compiled,
            "fast_greedy": fast_greedy,
            "seed": seed,
        },
        pace={"repeats": repeats, "seconds": seconds},
    )
    _check_outputs(figures)
    if study and not cartridge_steps:
        raise ConfigError("--study is for cartridges, and none is trained: give --cartridge-steps")
    comparison = _comparison(data, rival, study)
    subject = _open(shape, adapter, ratio, layers, device, dtype, seed)
    if fast_greedy and not subject.on_cpu:
        raise ConfigError(
            f"--fast-greedy is for a decoder on a CPU, this one is on {subject.backbone.device}; "
            "leave it out, or give --device cpu"
        )
    chosen = names or list(MEASUREMENTS)
    with progress(what="bench", total=len(chosen)) as bar:

        def done(name: str) -> None:
            bar.advance(bar.task_ids[0])
            err().print(f"{name}: done")

        report = run_bench(
            names or [],
            subject,
            settings,
            comparison=comparison,
            command=shlex.join(["sac-rag", *sys.argv[1:]]),
            quick=quick,
            on_done=done,
        )
    _tell(report, json_file=json_file, markdown=markdown, figures=figures)


def _settings(*, quick: bool, sizes: dict, changes: dict, pace: dict) -> Settings:
    from sac_rag.bench.settings import QUICK, Settings

    base = QUICK if quick else Settings()
    given = {name: value for name, value in changes.items() if value is not None}
    clocked = {name: value for name, value in pace.items() if value is not None}
    return replace(base, **sizes, **given, pace=replace(base.pace, **clocked))


def _numbers(name: str, words: str) -> tuple[int, ...]:
    """Read ``1,8k``; k is 1,020 tokens of context (two chunks), 1,000 of anything else."""
    thousand = 1020 if name == "contexts" else 1000
    found = []
    for word in words.lower().split(","):
        digits = word.strip().removesuffix("k")
        if not digits.isdecimal():
            raise ConfigError(f"--{name} takes whole numbers such as 1,8k, got {words!r}")
        found.append(int(digits) * (thousand if word.strip().endswith("k") else 1))
    return tuple(found)


def _comparison(
    data: list[str] | None, rivals: list[str] | None, study: list[str] | None
) -> Comparison:
    from sac_rag.bench.run import Comparison
    from sac_rag.data import read_qa

    adapters = {}
    for one in rivals or []:
        name, equals, folder = one.partition("=")
        if not equals or not name or not folder:
            raise ConfigError(f"--rival takes NAME=FOLDER, e.g. EPL=runs/epl-5x, got {one!r}")
        adapters[name] = folder
    return Comparison(
        records=list(read_qa(data)) if data else None,
        adapters=adapters,
        study=list(read_qa(study)) if study else (),
    )


def _check_outputs(figures: Path | None) -> None:
    if figures is not None:
        from sac_rag.bench.figures import check_drawing

        check_drawing()


def _open(
    shape: str,
    adapter: str | None,
    ratio: int | None,
    layers: int | None,
    device: str,
    dtype: str,
    seed: int,
) -> Subject:
    from sac_rag.bench.shapes import open_subject

    with loading(shape, device=device):
        return open_subject(
            shape,
            adapter=adapter,
            ratio=ratio,
            layers=layers,
            device=device,
            dtype=dtype,
            seed=seed,
        )


def _tell(
    report: BenchReport, *, json_file: Path | None, markdown: Path | None, figures: Path | None
) -> None:
    text = json.dumps(report.to_json(), indent=2) + "\n"
    tables = report.to_markdown()
    if json_file is not None and str(json_file) != "-":
        write_report(text, json_file)
    if markdown is not None:
        write_report(tables, markdown)
    if figures is not None:
        from sac_rag.bench.figures import draw

        for path in draw(report.sections, figures):
            err().print(f"drawn: {path}", soft_wrap=True)
    if str(json_file) == "-":
        sys.stdout.write(text)
    elif markdown is None:
        out().print(tables, soft_wrap=True)
