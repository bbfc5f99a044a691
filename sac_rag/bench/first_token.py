"""Time to the first token: stored anchors, the full text, and stored full keys and values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sac_rag.backbone import WhileDecoding
from sac_rag.bench.clock import Contender, Laps, exponent, race, work
from sac_rag.bench.contexts import Scene, set_up
from sac_rag.bench.full_kv import FullKV
from sac_rag.bench.memory import drop_from_cache
from sac_rag.bench.results import At, Ratio, Row, Section, row, versus
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.bench.stages import stage_contenders
from sac_rag.engine import SACEngine
from sac_rag.generation.fast_greedy import fast_greedy

MEMORY, WARM, COLD = "anchors, memory", "anchors, disk, cached", "anchors, disk, cold"
FULL_MEMORY, FULL_COLD = "full KV, memory", "full KV, disk, cold"
TEXT, ALONE = "full text", "question alone"
FAST, TEXT_FAST, ALONE_FAST = (f"{name}, fast greedy" for name in (MEMORY, TEXT, ALONE))
TARGET_CONTEXT, GPU_TARGET_CONTEXT = 8000, 32_000
"""Tokens from which on the targets are defined."""


def measure_first_token(subject: Subject, settings: Settings) -> Section:
    """Answer with one token on every road, at each context; then the parts of ours by themselves.

    Ours is ``SACEngine.generate`` with the text of each document given and its anchors in the
    store: hashing, reading, checking every byte, joining, prefill. ``question alone`` has no
    documents: what no method can go below. With ``fast_greedy``, three come once more so.
    """
    rows: list[Row] = []
    ratios: list[Ratio] = []
    not_run: list[str] = []
    dropped: set[bool | None] = set()
    grown: dict[str, list[tuple[int, float]]] = {}
    fast = fast_greedy(subject.backbone) if settings.fast_greedy else None
    for context in settings.contexts:
        if not subject.fits(context + settings.question_tokens + 2):
            not_run.append(
                f"{context:,} tokens: with the question they exceed the model's window of "
                f"{subject.backbone.window:,}"
            )
            continue
        with set_up(subject, settings, context) as scene:
            at = {"context": scene.num_tokens}
            contenders = _contenders(scene, dropped)
            if fast:
                contenders |= _fast(contenders, fast, subject)
            laps = race(contenders, settings.pace, sync=subject.sync)
            rows += [row(name, done, at=at, figures={}) for name, done in laps.items()]
            ratios += _ratios(laps, at, on_cpu=subject.on_cpu)
            parts = race(stage_contenders(scene), settings.pace, sync=subject.sync)
            rows += [row(name, done, at=at, figures={}) for name, done in parts.items()]
        for name, done in laps.items():
            seconds = work(done, on_cpu=subject.on_cpu)
            grown.setdefault(name, []).append((scene.num_tokens, seconds))
    return Section(
        name="first-token",
        title="Time to the first token",
        rows=rows,
        ratios=ratios,
        not_run=not_run,
        notes=[_cold_note(dropped), *_growth_notes(grown)],
    )


def _contenders(scene: Scene, dropped: set[bool | None]) -> dict[str, Contender]:
    def drop(files: list[Path]) -> Callable[[], None]:
        return lambda: dropped.add(drop_from_cache(files))

    def engine(one: SACEngine, *, compress: bool = True) -> Callable[[], object]:
        request = scene.request(one, compress=compress)
        return lambda: one.generate([request], max_new_tokens=1)

    def full(one: FullKV) -> Callable[[], object]:
        model, question = one.model, scene.question_ids
        eos_ids = scene.subject.loaded.tokens.eos_ids
        return lambda: model.answer(
            one.load(scene.names), question, max_new_tokens=1, eos_ids=eos_ids
        )

    alone = scene.memory.request(scene.question, [])
    return {
        MEMORY: Contender(run=engine(scene.memory)),
        WARM: Contender(run=engine(scene.disk)),
        COLD: Contender(run=engine(scene.disk), before=drop(scene.entry_files)),
        FULL_MEMORY: Contender(run=full(scene.full_memory)),
        FULL_COLD: Contender(run=full(scene.full_disk), before=drop(scene.full_files)),
        TEXT: Contender(run=engine(scene.memory, compress=False)),
        ALONE: Contender(run=lambda: scene.memory.generate([alone], max_new_tokens=1)),
    }


def _fast(
    contenders: dict[str, Contender], fast: WhileDecoding, subject: Subject
) -> dict[str, Contender]:
    plain = {FAST: MEMORY, TEXT_FAST: TEXT, ALONE_FAST: ALONE}
    return {
        name: Contender(run=partial(subject.running, contenders[other].run, while_decoding=fast))
        for name, other in plain.items()
    }


def _ratios(laps: Laps, at: At, *, on_cpu: bool) -> list[Ratio]:
    far = at["context"] >= (TARGET_CONTEXT if on_cpu else GPU_TARGET_CONTEXT)
    in_memory = ">= 100 at 8k tokens, 5x, two CPU cores" if on_cpu else ">= 30 at 32k, on a GPU"
    cold = ">= 50 at 8k tokens, 5x, two CPU cores" if on_cpu else None
    aims = {
        (TEXT, MEMORY): in_memory if far else None,
        (TEXT, COLD): cold if far else None,
        (FULL_MEMORY, MEMORY): ">= 1",
        (FULL_COLD, COLD): ">= 1",
        (TEXT, FULL_MEMORY): None,
        (TEXT, ALONE): None,
        (TEXT, FAST): None,
        (TEXT_FAST, FAST): in_memory if far else None,
        (TEXT_FAST, ALONE_FAST): None,
    }
    aims = {names: aim for names, aim in aims.items() if laps.keys() >= set(names)}
    return [versus(laps, over, under, at=at, target=aim) for (over, under), aim in aims.items()]


def _cold_note(dropped: set[bool | None]) -> str:
    if dropped == {True}:
        return "cold: before each repetition no page of the files was in memory any more (checked)"
    if False in dropped:
        return "cold: the system kept pages of the files in memory, so cold is not really cold"
    return "cold: the system can neither drop files from memory nor say whether it did"


def _growth_notes(grown: dict[str, list[tuple[int, float]]]) -> list[str]:
    notes = []
    for name, points in grown.items():
        power = exponent([size for size, _ in points], [cost for _, cost in points])
        if power is not None:
            notes.append(f"{name}: time grows with the {power:.2f}th power of the context")
    return notes
