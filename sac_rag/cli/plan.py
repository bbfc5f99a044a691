"""``sac-rag plan``: what a corpus costs, and after how many retrievals compressing it pays."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sac_rag.cli import options
from sac_rag.cli.output import emit_json, out, seconds, size
from sac_rag.errors import ConfigError, InputFileError

if TYPE_CHECKING:
    from sac_rag.bench.measured import Measured
    from sac_rag.bench.plan import Corpus, Plan, Speeds

_CORPUS, _SPEEDS = "Corpus", "Speeds, instead of measured ones"
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}

EMBEDDED_CONFIG = Path(__file__).parents[1] / "embedded" / "nano" / "config.json"


def plan(
    tokens: Annotated[
        str, typer.Option(metavar="10M", help="Tokens of all documents.", rich_help_panel=_CORPUS)
    ],
    bench: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What sac-rag bench --json wrote.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="embedded, or a folder with config.json; the bench's by default."),
    ] = None,
    ratio: Annotated[
        int | None, typer.Option(min=1, help="Tokens per anchor; the bench's, or 5.")
    ] = None,
    value_bits: Annotated[
        float | None,
        typer.Option(
            min=1, help="Bits of a stored number, e.g. 16, 8, 4; as measured, or 16 without."
        ),
    ] = None,
    chunk_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens retrieved together.", rich_help_panel=_CORPUS)
    ] = 510,
    chunks_per_query: Annotated[
        int, typer.Option(min=1, help="Chunks of a question.", rich_help_panel=_CORPUS)
    ] = 8,
    retrievals: Annotated[
        float,
        typer.Option(min=0, help="How often each chunk is retrieved.", rich_help_panel=_CORPUS),
    ] = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="Devices that encode at once.")] = 1,
    encode_tokens_per_s: Annotated[float | None, typer.Option(rich_help_panel=_SPEEDS)] = None,
    prefill_tokens_per_s: Annotated[float | None, typer.Option(rich_help_panel=_SPEEDS)] = None,
    load_bytes_per_s: Annotated[float | None, typer.Option(rich_help_panel=_SPEEDS)] = None,
    question_s: Annotated[float | None, typer.Option(rich_help_panel=_SPEEDS)] = None,
    as_json: options.Json = False,
) -> None:
    """Plan bytes, hours, latency, and from how many retrievals on compressing pays.

    sac-rag plan --tokens 10M --bench bench.json --retrievals 50
    """
    from sac_rag.bench.measured import read_bench
    from sac_rag.bench.plan import Corpus, Speeds, make_plan

    measured = None
    if bench is not None:
        measured = read_bench(bench, context=chunk_tokens * chunks_per_query)
    given = {
        "encode_tokens_per_s": encode_tokens_per_s,
        "prefill_tokens_per_s": prefill_tokens_per_s,
        "load_bytes_per_s": load_bytes_per_s,
        "question_s": question_s,
    }
    sizes = _model_sizes(model, measured, speeds_given=None not in given.values())
    speeds = Speeds(**_speeds(given, measured))
    per_anchor = _anchor_bytes(sizes, measured, value_bits)
    corpus = Corpus(
        tokens=_amount(tokens),
        ratio=ratio or (measured.subject["ratio"] if measured else 5),
        anchor_bytes=per_anchor,
        token_bytes=sizes.numbers * sizes.value_bytes,
        chunk_tokens=chunk_tokens,
        chunks_per_query=chunks_per_query,
        retrievals=retrievals,
        workers=workers,
    )
    made = make_plan(corpus, speeds)
    if as_json:
        emit_json(_report(corpus, speeds, made, measured))
    else:
        _show(corpus, speeds, made, measured)


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    numbers: int
    """Of the keys and values of one token."""
    value_bytes: int
    """Of one number in full keys and values."""


def _model_sizes(model: str | None, measured: Measured | None, *, speeds_given: bool) -> _Sizes:
    if measured is not None and model in (None, measured.subject["name"]):
        value_bytes = measured.subject["value_bytes"]
        return _Sizes(
            numbers=measured.subject["token_bytes"] // value_bytes, value_bytes=value_bytes
        )
    if measured is not None and not speeds_given:
        raise ConfigError(
            f"the bench measured {measured.subject['name']!r}, and a plan for {model!r} was asked: "
            "speeds are not scaled from model to model; run `sac-rag bench --shape ...` with it, "
            "or give all four speeds"
        )
    if model is None:
        raise ConfigError("no model is named; give --bench FILE, or --model with all four speeds")
    path = EMBEDDED_CONFIG if model == "embedded" else Path(model) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        kv_heads = config.get("num_key_value_heads", heads)
        numbers = 2 * config["num_hidden_layers"] * kv_heads * head_dim
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(
            f"no model's config.json can be read at {path} ({error}); give 'embedded', a folder "
            "with one, or --bench FILE"
        ) from error
    return _Sizes(numbers=numbers, value_bytes=2)


def _anchor_bytes(sizes: _Sizes, measured: Measured | None, value_bits: float | None) -> float:
    if value_bits is not None:
        return sizes.numbers * value_bits / 8
    if measured is not None and measured.anchor_bytes is not None:
        return measured.anchor_bytes
    return sizes.numbers * sizes.value_bytes


def _speeds(given: dict[str, float | None], measured: Measured | None) -> dict[str, float]:
    known = dict(measured.speeds) if measured else {}
    known |= {name: value for name, value in given.items() if value is not None}
    missing = [name for name in given if name not in known]
    if missing:
        words = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise ConfigError(
            f"a plan needs {', '.join(missing)}; give --bench FILE of a bench that ran encoder, "
            f"first-token and store, or {words}"
        )
    return known


def _amount(words: str) -> int:
    """Read ``10M``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmbt]?)", words.strip().lower().replace(",", ""))
    if not found:
        raise ConfigError(f"--tokens takes a number such as 250000, 10M or 1.5B, got {words!r}")
    return int(float(found[1]) * _MULTIPLES[found[2]])


def _report(
    corpus: Corpus, speeds: Speeds, made: Plan, measured: Measured | None
) -> dict[str, Any]:
    return {
        "corpus": asdict(corpus),
        "speeds": asdict(speeds),
        "measured": None if measured is None else asdict(measured),
        "plan": made.to_dict(),
    }


def _show(corpus: Corpus, speeds: Speeds, made: Plan, measured: Measured | None) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    lines = {
        "store": f"{size(made.anchor_store_bytes)} for {made.anchors:,} anchors; full keys and "
        f"values would take {size(made.full_kv_bytes)} ({made.times_smaller:.3g}x)",
        "encoding": f"{made.encode_hours:.3g} hours on {corpus.workers} device(s)",
        "first token": f"{seconds(made.first_token_s)} from anchors, "
        f"{seconds(made.first_token_text_s)} from the text, "
        f"{seconds(made.first_token_full_kv_s)} from full keys and values",
        "pays over text": _after(made.pays_over_text_after, "re-reading"),
        "pays over full KV": _after(made.pays_over_full_kv_after, "keeping full keys and values"),
        "compute": f"{made.compute_hours:.3g} hours for {corpus.retrievals:g} retrievals of each "
        f"chunk; text {made.compute_hours_text:.3g}, full KV {made.compute_hours_full_kv:.3g}",
        "speeds": f"encode {speeds.encode_tokens_per_s:,.0f} and prefill "
        f"{speeds.prefill_tokens_per_s:,.0f} tokens/s, load {size(speeds.load_bytes_per_s)}/s",
    }
    if measured is not None:
        quick = ", a quick look" if measured.quick else ""
        lines["measured"] = (
            f"{measured.date} on {measured.machine}, {measured.subject['name']}{quick}; prefill at "
            f"{measured.context or 0:,} tokens"
        )
    for name, value in lines.items():
        grid.add_row(name, value)
    out().print(grid)


def _after(retrievals: int | None, other: str) -> str:
    if retrievals is None:
        return f"never: loading a chunk takes longer than {other}"
    return f"{other} costs more from the {_ordinal(retrievals)} retrieval of a chunk on"


def _ordinal(number: int) -> str:
    """Write ``1st``.

    >>> [_ordinal(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = (
        "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number}{ending}"
