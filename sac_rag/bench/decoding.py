"""Decode speed and memory: tokens per second behind anchors and behind the full text."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from sac_rag.bench.clock import Contender, Lap, race, wall, work
from sac_rag.bench.contexts import Scene, set_up
from sac_rag.bench.limits import copy_rate, weight_bytes
from sac_rag.bench.memory import free_bytes, peak_bytes
from sac_rag.bench.results import Ratio, Row, Section, row, versus
from sac_rag.bench.rows import RowsDecoder, full_keys_values, stored_anchors
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.engine import SACEngine

ANCHORS, TEXT = "anchors", "full text"
BEHIND_ANCHORS, BEHIND_TEXT = "rows behind anchors", "rows behind full KV"
FAR_CONTEXT, FAR_ROWS = 32_000, 32
"""Tokens and rows from which on the GPU's target is defined."""


class Ticks(threading.Event):
    """Stands where the engine looks whether to stop, which it does at every token; never stops."""

    def __init__(self) -> None:
        super().__init__()
        self.laps: list[Lap] = []

    def is_set(self) -> bool:
        """Note the time; say no."""
        self.laps.append(Lap(wall_s=time.perf_counter(), cpu_s=time.process_time()))
        return False


def measure_decoding(subject: Subject, settings: Settings) -> Section:
    """Decode from anchors in memory and from the full text, at each context, greedily.

    The rate is that from the first token to the last. Peak memory is of the whole call, model
    apart; the cache's own bytes stand beside it. Then many rows at once (``rows.py``), for each
    number in ``batches`` above 1.
    """
    subject = subject.endless()
    rows: list[Row] = []
    ratios: list[Ratio] = []
    not_run: list[str] = []
    limit = copy_rate(subject)
    for context in settings.contexts:
        if not subject.fits(context + settings.question_tokens + settings.new_tokens + 1):
            not_run.append(
                f"{context:,} tokens: with question and answer they exceed the model's window of "
                f"{subject.backbone.window:,}"
            )
            continue
        with set_up(subject, settings, context) as scene:
            at = {"context": scene.num_tokens}
            decoders = {
                name: _Decoder(scene, name, settings.new_tokens, limit) for name in (ANCHORS, TEXT)
            }
            contenders = {name: Contender(run=one) for name, one in decoders.items()}
            laps = race(contenders, settings.pace, sync=subject.sync)
            rows += [
                row(name, done, at=at, figures=decoders[name].figures(done))
                for name, done in laps.items()
            ]
            ratios.append(versus(laps, TEXT, ANCHORS, at=at, name="decode time, text / anchors"))
            for batch in settings.batches:
                if batch > 1:
                    more, ratio, reasons = _rows(scene, settings, batch, limit)
                    rows, ratios, not_run = rows + more, ratios + ratio, not_run + reasons
    return Section(
        name="decoding",
        title="Decoding and memory",
        rows=rows,
        ratios=ratios,
        not_run=not_run,
        notes=[
            "memory: the most that the call held at once, weights apart, and the cache alone",
            f"copy_share: of the {limit / 1e9:,.1f} GB/s that copying memory reached here, what "
            "reading weights and cache once a token comes to",
        ],
    )


def _rows(
    scene: Scene, settings: Settings, batch: int, limit: float
) -> tuple[list[Row], list[Ratio], list[str]]:
    """Decode many rows behind the scene's context, where their full keys and values fit."""
    subject, at = scene.subject, {"context": scene.num_tokens, "batch": batch}
    each = scene.num_tokens + settings.question_tokens + settings.new_tokens
    needed, free = batch * each * subject.token_bytes, free_bytes(subject.backbone.device)
    if needed > free:
        reason = (
            f"{batch} rows of {scene.num_tokens:,} tokens: full keys and values take "
            f"{needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free"
        )
        return [], [], [reason]
    anchors, full = stored_anchors(scene), full_keys_values(scene)
    how: dict[str, int] = {"rows": batch, "new_tokens": settings.new_tokens}
    decoders = {
        BEHIND_ANCHORS: RowsDecoder(scene, anchors, start=anchors.span + 1, **how),
        BEHIND_TEXT: RowsDecoder(scene, full, start=full.span, **how),
    }
    laps = race(
        {name: Contender(run=one) for name, one in decoders.items()},
        settings.pace,
        sync=subject.sync,
    )
    rows = [
        row(
            name,
            done,
            at=at,
            figures=_speed(
                done,
                subject,
                steps=settings.new_tokens - 1,
                rows=batch,
                cache_bytes=decoders[name].cache_bytes,
                limit=limit,
            ),
        )
        for name, done in laps.items()
    ]
    name = "decode time of rows, full KV / anchors"
    far = not subject.on_cpu and scene.num_tokens >= FAR_CONTEXT and batch >= FAR_ROWS
    target = ">= 3 at 32k tokens in 32 rows, on a GPU" if far else None
    return rows, [versus(laps, BEHIND_TEXT, BEHIND_ANCHORS, at=at, name=name, target=target)], []


def _speed(
    laps: Sequence[Lap], subject: Subject, *, steps: int, rows: int, cache_bytes: int, limit: float
) -> dict[str, float | None]:
    """Give the rate of all rows together, and what reading weights and caches at each step is."""
    read = steps * (weight_bytes(subject.backbone) + cache_bytes)
    return {
        "tokens_per_s": rows * steps / wall(laps).median if steps else None,
        "copy_share": read / work(laps, on_cpu=subject.on_cpu) / limit,
        "cache_bytes": cache_bytes,
    }


class _Decoder:
    """Answers on one road and gives the lap from the first token to the last."""

    def __init__(self, scene: Scene, road: str, new_tokens: int, limit: float) -> None:
        self._engine: SACEngine = scene.memory
        self._request = scene.request(scene.memory, compress=road == ANCHORS)
        self._subject, self._new_tokens, self._limit = scene.subject, new_tokens, limit
        self.decoded = 0
        self.cache_bytes = 0

    def __call__(self) -> Lap:
        ticks = Ticks()
        [answer] = self._engine.generate(
            [self._request], max_new_tokens=self._new_tokens, cancel=ticks
        )
        self.decoded = answer.usage.completion_tokens - 1
        self.cache_bytes = answer.usage.cache_bytes
        first, last = ticks.laps[-1 - self.decoded], ticks.laps[-1]
        return Lap(wall_s=last.wall_s - first.wall_s, cpu_s=last.cpu_s - first.cpu_s)

    def figures(self, laps: Sequence[Lap]) -> dict[str, float | None]:
        speed = _speed(
            laps,
            self._subject,
            steps=self.decoded,
            rows=1,
            cache_bytes=self.cache_bytes,
            limit=self._limit,
        )
        return {**speed, "peak_bytes": peak_bytes(self, device=self._subject.backbone.device)}
