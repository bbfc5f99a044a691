"""Cost against growth: documents per query, entries of a store, requests of a batch.

Growth with the context is told by the powers in the notes of ``encoder`` and ``first-token``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from sac_rag.anchor_cache import AnchorCache
from sac_rag.bench.clock import Contender, exponent, race, wall
from sac_rag.bench.contexts import set_up
from sac_rag.bench.results import Row, Section, row
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.engine.requests import Document
from sac_rag.generation.fast_greedy import fast_greedy
from sac_rag.store import open_store

FIRST_TOKEN, ENTRIES, BATCH = "first token", "entries", "batch"
BATCH_FAST = "batch, fast greedy"
FLAT_NOTE = "of a store of N entries: time grows with the {:.2f}th power of N (0 is flat)"


def measure_growth(subject: Subject, settings: Settings) -> Section:
    """Measure how costs grow, one thing at a time."""
    subject = subject.endless()
    documents, not_run = _documents(subject, settings)
    entries = _entries(subject, settings)
    batches, more = _batches(subject, settings)
    notes = []
    for name in dict.fromkeys(one.contender for one in entries):
        points = [
            (one.at["entries"], one.wall_s.median)
            for one in entries
            if one.contender == name and one.wall_s
        ]
        power = exponent([size for size, _ in points], [cost for _, cost in points])
        if power is not None:
            notes.append(f"{name} {FLAT_NOTE.format(power)}")
    return Section(
        name="growth",
        title="Cost against growth",
        rows=[*documents, *entries, *batches],
        not_run=[*not_run, *more],
        notes=notes,
    )


def _context(subject: Subject, settings: Settings) -> int:
    """Give the longest context of the settings that fits with its answer, else what does fit."""
    beside = settings.question_tokens + settings.new_tokens + 1
    fitting = [size for size in settings.contexts if subject.fits(size + beside)]
    return max(fitting) if fitting else subject.backbone.window - beside


def _documents(subject: Subject, settings: Settings) -> tuple[list[Row], list[str]]:
    """Cut one context into ever more documents; the first token from anchors in memory."""
    context, rows, not_run = _context(subject, settings), [], []
    for number in settings.documents:
        if context // number < 32:
            not_run.append(
                f"{number} documents: a context of {context:,} leaves too little for each"
            )
            continue
        cut = replace(settings, document_tokens=context // number)
        with set_up(subject, cut, context // number * number) as scene:
            request = scene.request(scene.memory)
            engine = scene.memory
            work = Contender(
                run=lambda engine=engine, request=request: engine.generate(
                    [request], max_new_tokens=1
                )
            )
            laps = race({FIRST_TOKEN: work}, settings.pace, sync=subject.sync)[FIRST_TOKEN]
            at = {"documents": number, "context": scene.num_tokens}
            rows.append(row(FIRST_TOKEN, laps, at=at, figures={}))
    return rows, not_run


def _entries(subject: Subject, settings: Settings) -> list[Row]:
    """Fill a folder with ever more small entries; look at one, get one, put one."""
    rows: list[Row] = []
    [text] = subject.texts(min(64, settings.document_tokens), min(64, settings.document_tokens))
    with subject.engine() as engine:
        cache = engine.compress(Document(text=text))
    assert isinstance(cache, AnchorCache)
    with TemporaryDirectory(prefix="sac-rag-bench-") as place, open_store(Path(place)) as store:
        fresh = count()
        for number in sorted(settings.entries):
            began = time.perf_counter()
            added = 0
            for index in fresh:
                if index >= number:
                    break
                store.put(_key(index), cache)
                added += 1
            filled = time.perf_counter() - began
            beyond = count(10**9 + number * 1000)
            contenders = {
                "look": Contender(run=lambda n=number: _key(n // 2) in store),
                "get": Contender(run=lambda n=number: store.get(_key(n // 2))),
                "put": Contender(run=lambda keys=beyond: store.put(_key(next(keys)), cache)),
            }
            laps = race(contenders, settings.pace)
            figures = {"filled_per_s": added / filled}
            rows += [
                row(name, done, at={"entries": number}, figures=figures)
                for name, done in laps.items()
            ]
            fresh = count(number)
    return rows


def _key(index: int) -> str:
    return f"{index:032x}"


def _batches(subject: Subject, settings: Settings) -> tuple[list[Row], list[str]]:
    """Answer ever more requests together, each about the shortest context, anchors in memory.

    With ``fast_greedy`` the same once more so.
    """
    rows: list[Row] = []
    context = min(settings.contexts)
    if not subject.fits(context + settings.question_tokens + settings.new_tokens + 1):
        return rows, [f"batches: a context of {context:,} tokens exceeds the window"]
    fast = fast_greedy(subject.backbone) if settings.fast_greedy else None
    with set_up(subject, settings, context) as scene:
        request, engine = scene.request(scene.memory), scene.memory
        for number in settings.batches:

            def answer(number: int = number) -> object:
                return engine.generate(
                    [request] * number, batch_size=number, max_new_tokens=settings.new_tokens
                )

            contenders = {BATCH: Contender(run=answer)}
            if fast:
                run = partial(subject.running, answer, while_decoding=fast)
                contenders[BATCH_FAST] = Contender(run=run)
            at = {"batch": number, "context": scene.num_tokens}
            for name, laps in race(contenders, settings.pace, sync=subject.sync).items():
                rate = number * settings.new_tokens / wall(laps).median
                rows.append(row(name, laps, at=at, figures={"tokens_per_s": rate}))
    return rows, []
