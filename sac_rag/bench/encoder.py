"""Encoder tokens per second, against the released procedure and a plain prefill."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from sac_rag.bench.clock import Contender, Lap, Laps, Work, exponent, race, wall, work
from sac_rag.bench.limits import encode_operations, matrix_rate, prefill_operations
from sac_rag.bench.plain import PlainModel
from sac_rag.bench.released import released_anchors
from sac_rag.bench.results import Ratio, Row, Section, row, versus
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.compiled import CompiledEncoder
from sac_rag.encoder import run_encoder
from sac_rag.engine.requests import Document

OURS, RELEASED, PLAIN = "ours", "released procedure", "plain prefill"
COMPILED = "ours, compiled"
COMPILE: dict[str, Any] = {"mode": "reduce-overhead"}
"""For ``torch.compile``: CUDA graphs on a GPU."""
TARGET_CONTEXT = 8000
"""Tokens from which on the targets are defined."""


def measure_encoder(subject: Subject, settings: Settings) -> Section:
    """Encode the documents of each context.

    Ours is what a user calls: tokenising, batching, encoding and keeping in a store in memory. The
    released procedure and the plain prefill get token ids and keep nothing. With ``compiled`` ours
    comes once more, its widest pass compiled (in the warm-up).
    """
    rows: list[Row] = []
    ratios: list[Ratio] = []
    growth: dict[str, list[float]] = {OURS: [], PLAIN: []}
    sizes, not_run = [], []
    limit = matrix_rate(subject)
    for context in settings.contexts:
        laps, lengths = _race(subject, settings, context)
        tokens = sum(lengths)
        encoding = encode_operations(subject, lengths)
        needed = {
            OURS: encoding,
            COMPILED: encoding,
            PLAIN: prefill_operations(subject, tokens),
        }
        rows += [
            row(
                name,
                done,
                at={"context": tokens},
                figures={
                    "tokens_per_s": tokens / wall(done).median,
                    "matrix_share": _share(needed.get(name), done, limit, subject),
                },
            )
            for name, done in laps.items()
        ]
        ratios += _ratios(laps, tokens, on_cpu=subject.on_cpu)
        if PLAIN in laps:
            sizes.append(tokens)
            for name, seen in growth.items():
                seen.append(work(laps[name], on_cpu=subject.on_cpu))
        else:
            not_run.append(_too_long(PLAIN, tokens, subject))
    notes = [
        f"{name}: time grows with the {exponent(sizes, seen):.2f}th power of the context"
        for name, seen in growth.items()
        if exponent(sizes, seen) is not None
    ]
    notes.append(
        f"matrix_share: of the {limit / 1e9:,.0f} billion operations per second that a matrix "
        "product alone reached here, what the contender's own arithmetic comes to; the target is "
        "0.6 on a GPU at 64 chunks a batch"
    )
    if subject.loaded.adapter.config.method != "sac":
        not_run.append(f"{RELEASED}: it is SAC's, the adapter is another method's")
    return Section(
        name="encoder",
        title="Encoding documents",
        rows=rows,
        ratios=ratios,
        not_run=not_run,
        notes=notes,
    )


def _ratios(laps: Laps, tokens: int, *, on_cpu: bool) -> list[Ratio]:
    against_released = ">= 2 on two CPU cores" if on_cpu else ">= 8 on a GPU"
    aims = {
        (RELEASED, OURS): against_released,
        (RELEASED, COMPILED): against_released,
        (OURS, PLAIN): "<= 0.8 on two CPU cores" if on_cpu else None,
    }
    far, at = tokens >= TARGET_CONTEXT, {"context": tokens}
    return [
        versus(laps, over, under, at=at, target=aim if far else None)
        for (over, under), aim in aims.items()
        if over in laps and under in laps
    ]


def _race(subject: Subject, settings: Settings, context: int) -> tuple[Laps, list[int]]:
    adapter, tokens = subject.loaded.adapter, subject.loaded.tokens
    texts = subject.texts(context, settings.document_tokens, seed=settings.seed)
    seen = [adapter.config.prompt.seen_ids(text, tokens=tokens) for text in texts]
    count = sum(len(ids) for ids in seen)
    model = PlainModel(adapter.backbone)
    with subject.engine() as engine:
        documents = [Document(text=text) for text in texts]
        keys = [engine.key_of(document) for document in documents]

        def forget() -> None:
            for key in keys:
                engine.store.delete(key)

        def ours() -> object:
            return engine.compress_each(documents)

        contenders = {OURS: Contender(run=ours, before=forget)}
        if settings.compiled:
            forget()
            rows, tokens = _widest_pass(subject, ours)
            encoder = CompiledEncoder(rows=rows, tokens=tokens, **COMPILE)
            compiled = partial(subject.running, ours, run_encoder=encoder)
            contenders[COMPILED] = Contender(run=compiled, before=forget)
        if adapter.config.method == "sac":
            contenders[RELEASED] = Contender(
                run=lambda: [released_anchors(adapter, ids) for ids in seen]
            )
        if count <= adapter.backbone.window:
            together = [token_id for ids in seen for token_id in ids]
            contenders[PLAIN] = Contender(run=lambda: model.prefill(together))
        return race(contenders, settings.pace, sync=subject.sync), [len(ids) for ids in seen]


def _widest_pass(subject: Subject, run: Work) -> tuple[int, int]:
    """Give rows and tokens of the largest pass through the encoder that a call makes."""
    shapes: list[tuple[int, int]] = []

    def noting(layers: Any, embeds_BTD: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        rows, tokens = embeds_BTD.shape[:2]
        shapes.append((rows, tokens))
        return run_encoder(layers, embeds_BTD, *rest)

    subject.running(run, run_encoder=noting)
    return max(shapes, key=lambda shape: shape[0] * shape[1])


def _share(
    operations: float | None, laps: Sequence[Lap], limit: float, subject: Subject
) -> float | None:
    if operations is None:
        return None
    return operations / work(laps, on_cpu=subject.on_cpu) / limit


def _too_long(name: str, tokens: int, subject: Subject) -> str:
    return f"{name} of {tokens:,} tokens: the model's window is {subject.backbone.window:,}"
