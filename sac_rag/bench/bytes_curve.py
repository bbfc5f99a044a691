"""Quality against bytes: the same questions asked of anchors that each codec has kept.

Bytes are those of real entry files in a folder, headers, checksums and all; beside them stands the
payload alone. Texts are not counted, and neither is the basis of a PCA codec, of which a
model has one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs import Codec, Encoded, PCACodec, fit_pca, get_codec
from sac_rag.engine import SACEngine
from sac_rag.engine.loading import EMBEDDED_FOLDER
from sac_rag.errors import ConfigError
from sac_rag.eval.metrics import QA_METRICS
from sac_rag.store import open_store
from sac_rag.store.anchors import ANCHORS

CodecFor = Callable[[str], Codec]
"""From a document to the codec that shall keep it."""

BF16_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one document."""

    question: str
    answer: str
    document: str


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What one codec keeps, and in how many bytes."""

    codec: str
    """As it was named."""
    file_bytes: int
    """Of the entry files of all documents."""
    payload_bytes: int
    """Of the codec's tensors in them."""
    source_tokens: int
    """Of all documents."""
    full_bytes: int
    """Of the keys and values of all their tokens in bfloat16."""
    asked: int
    """Questions."""
    scores: Mapping[str, float]
    """Means over the questions, by metric."""

    @property
    def bytes_per_token(self) -> float:
        """File bytes for each token of the documents."""
        return self.file_bytes / self.source_tokens

    @property
    def times_smaller(self) -> float:
        """How often the files would fit into full keys and values in bfloat16."""
        return self.full_bytes / self.file_bytes

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {
            **asdict(self),
            "bytes_per_token": self.bytes_per_token,
            "times_smaller": self.times_smaller,
        }


def bytes_curve(
    engine: SACEngine,
    questions: Sequence[Question],
    codecs: Mapping[str, CodecFor],
    *,
    max_new_tokens: int = 16,
) -> list[CurvePoint]:
    """Keep every document with every codec, and ask every question of what was kept.

    Args:
        engine: Its model compresses and answers; its own store is not used for the files.
        questions: Asked greedily, each of its own document alone.
        codecs: By the names that the points shall carry; see ``fixed`` and ``held_out_pca``.
        max_new_tokens: Most tokens of an answer.

    Raises:
        ConfigError: If there are no questions.
    """
    if not questions:
        raise ConfigError("asked for a curve of quality without any question; give some")
    made = _compress(engine, [one.document for one in questions])
    return [
        _point(engine, questions, made, name, codec_for, max_new_tokens)
        for name, codec_for in codecs.items()
    ]


def fixed(name: str) -> CodecFor:
    """Keep all documents with one codec, by its name."""
    codec = get_codec(name)
    return lambda document: codec


def held_out_pca(
    engine: SACEngine, documents: Sequence[str], *, bits: Sequence[float], folds: int = 4
) -> dict[str, CodecFor]:
    """Keep each document with a basis that was fitted on others, never on itself.

    Args:
        engine: Compresses the documents.
        documents: All that will be asked for.
        bits: Of a number: a codec for each, named ``pca 2`` and so on.
        folds: Into so many parts they are dealt; a basis is fitted on all parts but one.
    """
    distinct = list(dict.fromkeys(documents))
    if not 2 <= folds <= len(distinct):
        raise ConfigError(
            f"asked to hold out one of {folds} parts of {len(distinct)} documents; give 2 or more "
            "parts, and no more than documents"
        )
    caches = _compress(engine, distinct)
    bases = [
        fit_pca(
            [caches[text] for at, text in enumerate(distinct) if at % folds != fold],
            inv_freq=engine.inv_freq,
        )
        for fold in range(folds)
    ]
    part = {document: at % folds for at, document in enumerate(distinct)}

    def at_bits(wanted: float) -> CodecFor:
        codecs = [PCACodec(basis.with_bits(wanted)) for basis in bases]
        return lambda document: codecs[part[document]]

    return {f"pca {wanted:g}": at_bits(wanted) for wanted in bits}


def shipped_questions() -> list[Question]:
    """Give the questions that ship with the embedded model, their documents read in."""
    folder = EMBEDDED_FOLDER / "atlas"
    read = partial(Path.read_text, encoding="utf-8")
    rows = [json.loads(line) for line in read(folder / "questions.jsonl").splitlines()]
    return [
        Question(
            question=row["question"],
            answer=row["answer"],
            document=read(folder / row["document"]),
        )
        for row in rows
    ]


def _compress(engine: SACEngine, texts: Sequence[str]) -> dict[str, AnchorCache]:
    distinct = list(dict.fromkeys(texts))
    made = engine.compress_each([{"text": text} for text in distinct])
    return {text: one.cache for text, one in zip(distinct, made, strict=True)}


def _point(
    engine: SACEngine,
    questions: Sequence[Question],
    made: Mapping[str, AnchorCache],
    name: str,
    codec_for: CodecFor,
    max_new_tokens: int,
) -> CurvePoint:
    kept: dict[str, AnchorCache] = {}
    file_bytes = payload_bytes = 0
    with TemporaryDirectory() as folder:
        for text, cache in made.items():
            with open_store(folder, codec=codec_for(text)) as store:
                key = store.key_for(fingerprint=cache.fingerprint, text=text)
                store.put(key, cache, inv_freq=engine.inv_freq)
                found, entry = store.get(key), store.entry(key)
                written = store.backend.peek(ANCHORS + key)
            assert found is not None
            assert entry is not None
            assert written is not None
            kept[text] = found.to(cache.keys.device)
            file_bytes += entry.anchor_bytes
            payload_bytes += Encoded.from_bytes(written).nbytes
    requests = [engine.request(one.question, [kept[one.document]]) for one in questions]
    answers = engine.generate(requests, max_new_tokens=max_new_tokens)
    scores = {
        metric: sum(
            score(reply.text, [one.answer]) for reply, one in zip(answers, questions, strict=True)
        )
        / len(questions)
        for metric, score in QA_METRICS.items()
    }
    tokens = sum(cache.num_tokens for cache in made.values())
    layers, heads, _, head_dim = next(iter(made.values())).keys.shape
    return CurvePoint(
        codec=name,
        file_bytes=file_bytes,
        payload_bytes=payload_bytes,
        source_tokens=tokens,
        full_bytes=tokens * 2 * layers * heads * head_dim * BF16_BYTES,
        asked=len(questions),
        scores=scores,
    )
