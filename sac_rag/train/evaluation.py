"""The stage ``evaluate``: the run's adapter beside full context and none, on the same questions."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sac_rag.data import open_sources, read_qa, shuffled
from sac_rag.data.records import QARecord
from sac_rag.engine import SACEngine
from sac_rag.errors import CheckpointFormatError, ConfigError
from sac_rag.eval import (
    QA_METRICS,
    ROADS,
    SUMMARY_METRICS,
    Asker,
    Bootstrap,
    Metric,
    Report,
    evaluate,
)
from sac_rag.train.checkpoints import last_checkpoint, writing
from sac_rag.train.recipe import EvaluateSettings, Recipe

logger = logging.getLogger(__name__)

METRICS: dict[str, Metric] = {**QA_METRICS, **SUMMARY_METRICS}
T = TypeVar("T")


def check_evaluation(recipe: Recipe) -> None:
    """Refuse before anything is trained what could not be evaluated afterwards.

    Raises:
        ConfigError: If there is no data, or a road or metric is not known.
        DataError: If the data is not there.
    """
    asked = recipe.evaluate
    if not asked.data:
        raise ConfigError(
            "evaluate.data names no questions; give files, e.g. evaluate.data=[dev.jsonl]"
        )
    open_sources(asked.data)
    _named(asked.roads, ROADS, what="roads")
    _named(asked.metrics, METRICS, what="metrics")
    Bootstrap(resamples=asked.resamples)


def run_evaluation(recipe: Recipe) -> Report:
    """Ask the adapter of a run, at each of its ratios; answers that are there are not asked again.

    Writes the report as JSON, and every answer to ``<out>/answers/<method>.jsonl``.

    Raises:
        CheckpointFormatError: If the run has no adapter.
        ConfigError: If the settings do not fit; see ``check_evaluation``.
        DataError: If the questions cannot be read, or other answers lie in the folder.
        StoreWriteError: If the report cannot be written.
    """
    check_evaluation(recipe)
    asked, run = recipe.evaluate, Path(recipe.out)
    adapter = _adapter_of(run)
    records = _records(asked, seed=recipe.data.order_seed)
    ratios: Sequence[int] = recipe.compress.served if "compressed" in asked.roads else [0]
    methods = {}
    for index, ratio in enumerate(ratios):
        with SACEngine.from_pretrained(
            recipe.model, adapter=adapter, ratio=ratio or None, dtype=recipe.precision
        ) as engine:
            askers = _askers(engine, asked.roads if index == 0 else ["compressed"])
            with writing(run / "answers", run=run):
                report = evaluate(
                    askers,
                    records,
                    batch_size=asked.batch,
                    max_new_tokens=asked.max_new_tokens,
                    metrics=_named(asked.metrics, METRICS, what="metrics"),
                    outputs=run / "answers",
                    bootstrap=Bootstrap(resamples=asked.resamples),
                    on_progress=lambda *done: logger.info("%s: %d of %d questions", *done),
                )
        methods |= report.methods
    report = Report(methods=methods, max_new_tokens=asked.max_new_tokens)
    _write(report, Path(asked.json) if asked.json else run / "evaluation.json", run=run)
    return report


def _askers(engine: SACEngine, roads: Sequence[str]) -> dict[str, Asker]:
    """Name the rows of the table: a road, or for the compressed one what the adapter is."""
    config = engine.adapter.config
    own = f"{config.method}-{engine.ratio}x{'-query-aware' if config.query_aware else ''}"
    chosen = _named(roads, ROADS, what="roads")
    return {own if road == "compressed" else road: ask(engine) for road, ask in chosen.items()}


def _adapter_of(run: Path) -> Path:
    adapter = run / "adapter"
    if adapter.is_dir():
        return adapter
    begun = last_checkpoint(run)
    state = f"it stands at {Path(begun).name}" if begun else "nothing was trained there"
    raise CheckpointFormatError(
        f"the run in {run} has no adapter to evaluate: {state}; train it to its end first, by the "
        "same command with pretrain or finetune for evaluate, or give out= of a finished run"
    )


def _records(asked: EvaluateSettings, *, seed: int) -> list[QARecord]:
    records = list(read_qa(asked.data, max_bad=asked.max_bad))
    if asked.limit and asked.limit < len(records):
        # drawn, as sets may stand behind each other; in reading order
        drawn = sorted(shuffled(len(records), seed=seed)[: asked.limit])
        records = [records[index] for index in drawn]
    return records


def _named(names: Iterable[str], known: Mapping[str, T], *, what: str) -> dict[str, T]:
    names = list(names)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"evaluate.{what} names {name!r}, which is not known; choose from "
                f"{', '.join(known)}"
            )
    if not names:
        raise ConfigError(f"evaluate.{what} is empty; choose from {', '.join(known)}")
    return {name: known[name] for name in names}


def _write(report: Report, path: Path, *, run: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path, run=run):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
