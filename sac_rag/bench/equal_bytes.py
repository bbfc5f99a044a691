"""Answers at equal bytes: the same questions asked after each method has kept what it keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sac_rag.bench.cartridge import Cartridges, SelfStudy
from sac_rag.bench.plain import PlainModel
from sac_rag.bench.results import Row, Section
from sac_rag.bench.rivals import Keep, plain_rivals, press_rivals
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import ATLAS, Subject, open_subject
from sac_rag.data import QARecord
from sac_rag.data.records import Passage
from sac_rag.engine import SACEngine
from sac_rag.engine.loading import load_base
from sac_rag.errors import ConfigError, MissingDependencyError
from sac_rag.eval.bootstrap import Bootstrap
from sac_rag.eval.metrics import QA_METRICS

MAX_NEW_TOKENS = 16


@dataclass(kw_only=True)
class _Tally:
    """What one method kept and answered."""

    kept_bytes: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    seconds: dict[tuple[Passage, ...], float] = field(default_factory=dict)
    """Of keeping each set of documents for the first time."""
    scores: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in QA_METRICS}
    )

    def add(
        self, record: QARecord, text: str, *, kept_bytes: int, places: int, seconds: float
    ) -> None:
        self.seconds.setdefault(record.documents, seconds)
        self.kept_bytes.append(kept_bytes)
        self.places.append(places)
        for name, metric in QA_METRICS.items():
            self.scores[name].append(metric(text, record.answers))

    def row(self, name: str) -> Row:
        figures: dict[str, float | None] = {
            "asked": len(self.places),
            "kept_bytes": sum(self.kept_bytes) / len(self.places),
            "places": sum(self.places) / len(self.places),
            "keeping_s": sum(self.seconds.values()) / len(self.seconds),
        }
        for metric, scores in self.scores.items():
            interval = Bootstrap().micro(scores)
            figures |= {
                metric: interval.value,
                f"{metric}_low": interval.low,
                f"{metric}_high": interval.high,
            }
        return Row(contender=name, figures=figures)


def measure_equal_bytes(
    subject: Subject,
    settings: Settings,
    *,
    records: Sequence[QARecord] | None = None,
    adapters: Mapping[str, str] | None = None,
    study: Sequence[QARecord] = (),
) -> Section:
    """Ask every method the same questions, each about its own documents.

    Args:
        subject: A trained model; SAC's anchors set the number of places for the others.
        settings: How many questions, how many steps of a cartridge.
        records: What is asked; by default the questions that ship with the embedded model.
        adapters: Other trained adapters for the same base, by the name that the table shows.
        study: Questions about the same documents, none of those asked, that a cartridge may study
            beside the documents themselves.

    Raises:
        ConfigError: If the model has random weights: its answers would be noise; or if what is
            studied is asked, or is about no document that is asked about.
    """
    if not subject.trained:
        raise ConfigError(
            f"equal bytes compares answers, and those of {subject.name} are noise "
            f"({subject.note}); take --shape embedded, or a model with a trained adapter"
        )
    asked = list(atlas_questions() if records is None else records)
    asked = asked[:: max(1, len(asked) // settings.questions)] if settings.questions else asked
    asked = asked[: settings.questions or None]
    _check_study(study, asked)
    model = PlainModel(subject.backbone)
    not_run: list[str] = []
    dtype = str(subject.backbone.dtype).removeprefix("torch.")
    rivals = {**plain_rivals(model, seed=settings.seed)}
    try:
        rivals |= press_rivals(model)
    except MissingDependencyError as error:
        not_run.append(str(error))
    if settings.cartridge_steps:
        base, _ = load_base(
            subject.name,
            device=str(subject.backbone.device),
            dtype=dtype,
        )
        how = SelfStudy(
            steps=settings.cartridge_steps,
            questions=_by_context(subject, study),
            eos_ids=subject.loaded.tokens.eos_ids,
            seed=settings.seed,
        )
        learned = f"{settings.cartridge_steps} steps on {'text and questions' if study else 'text'}"
        rivals[f"peft CARTRIDGE, {learned}"] = Cartridges(model, base, how)
    else:
        not_run.append("peft CARTRIDGE: it trains for every document; ask with --cartridge-steps")
    rows = [*_ask_anchors("SAC, ours", subject, asked)]
    for name, adapter in (adapters or {}).items():
        other = open_subject(
            subject.name, adapter=adapter, device=str(subject.backbone.device), dtype=dtype
        )
        rows += _ask_anchors(name, other, asked)
    if not adapters:
        not_run.append("EPL, 500xCompressor, ICAE: no adapter was given (--rival NAME=FOLDER)")
    rows += _ask_rivals(subject, model, rivals, asked)
    return Section(
        name="equal-bytes",
        title="Answers at equal bytes",
        rows=rows,
        not_run=not_run,
        notes=[
            "the question comes after compression; bytes are those of the kept tensors as they "
            f"stand in memory ({subject.token_bytes:,} a token), masked ones included",
            "keeping_s: wall seconds of keeping a question's documents for the first time, with "
            "what is trained for them; mean over sets of documents",
            f"scores: mean and 95 % bootstrap interval; answers of at most {MAX_NEW_TOKENS} tokens",
        ],
    )


def atlas_questions() -> list[QARecord]:
    """Give the questions that ship with the embedded model, their documents read in."""
    lines = (ATLAS / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = {row["document"]: (ATLAS / row["document"]).read_text("utf-8") for row in rows}
    return [
        QARecord(
            id=str(number),
            documents=(Passage(text=texts[row["document"]]),),
            question=row["question"],
            answers=(row["answer"],),
            source="atlas",
        )
        for number, row in enumerate(rows)
    ]


def _ask_anchors(name: str, subject: Subject, records: Sequence[QARecord]) -> list[Row]:
    tally = _Tally()
    with subject.engine() as engine:
        for record in records:
            began = time.perf_counter()
            caches = [one.cache for one in engine.compress_each(_documents(record))]
            seconds = time.perf_counter() - began
            request = engine.request(record.question, caches)
            [answer] = engine.generate([request], max_new_tokens=MAX_NEW_TOKENS)
            tally.add(
                record,
                answer.text,
                kept_bytes=sum(cache.nbytes for cache in caches),
                places=sum(map(len, caches)),
                seconds=seconds,
            )
        return [tally.row(f"{name}, {engine.ratio}x")]


def _ask_rivals(
    subject: Subject, model: PlainModel, rivals: Mapping[str, Keep], records: Sequence[QARecord]
) -> list[Row]:
    prompt, tokens = subject.loaded.adapter.config.prompt, subject.loaded.tokens
    tallies = {name: _Tally() for name in rivals}
    with subject.engine() as engine:
        for record in records:
            context, places = _context(engine, record)
            question = tokens.encode(prompt.question(record.question))
            for name, keep in rivals.items():
                began = time.perf_counter()
                kept = keep(context, places)
                seconds = time.perf_counter() - began
                nbytes, length = kept.nbytes, kept.length
                ids = model.answer(
                    kept, question, max_new_tokens=MAX_NEW_TOKENS, eos_ids=tokens.eos_ids
                )
                text = tokens.decode([one for one in ids if one not in tokens.eos_ids])
                tallies[name].add(record, text, kept_bytes=nbytes, places=length, seconds=seconds)
    return [tally.row(name) for name, tally in tallies.items()]


def _context(engine: SACEngine, record: QARecord) -> tuple[list[int], int]:
    """Give the documents as the decoder reads them in full, and how many anchors they get."""
    prompt, tokens = engine.prompt_format, engine.tokens
    separator = tokens.encode(prompt.document_separator)
    ids: list[int] = []
    for document in record.documents:
        seen = prompt.seen_ids(document.text, document.title, tokens=tokens)
        if ids:
            seen = [*separator, *seen[tokens.bos_id is not None :]]
        ids += seen
    return ids, sum(engine.count_anchors(document) for document in _documents(record))


def _check_study(study: Sequence[QARecord], asked: Sequence[QARecord]) -> None:
    exam = {(record.documents, record.question.strip()) for record in asked}
    for record in study:
        if (record.documents, record.question.strip()) in exam:
            raise ConfigError(
                f"asked to study {record.question!r} (record {record.id}), which is asked of the "
                "same documents later; a cartridge may not see the exam: leave it out"
            )
    if study and not {one.documents for one in study} & {one.documents for one in asked}:
        raise ConfigError(
            f"none of the {len(study)} questions to study is about a document that is asked about; "
            "their documents must be the same to the letter"
        )


def _by_context(
    subject: Subject, study: Sequence[QARecord]
) -> dict[tuple[int, ...], list[list[int]]]:
    """Write questions as they stand behind their documents, by the ids of these."""
    prompt, tokens = subject.loaded.adapter.config.prompt, subject.loaded.tokens
    found: dict[tuple[int, ...], list[list[int]]] = {}
    with subject.engine() as engine:
        for record in study:
            context, _ = _context(engine, record)
            question = tokens.encode(prompt.question(record.question))
            found.setdefault(tuple(context), []).append(question)
    return found


def _documents(record: QARecord) -> list[dict[str, str]]:
    return [passage.mapping for passage in record.documents]
