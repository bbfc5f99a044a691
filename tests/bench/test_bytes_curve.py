"""The curve counts what lies on the disk and asks what was kept."""

from __future__ import annotations

import pytest

from sac_rag import SACEngine, open_store
from sac_rag.bench.bytes_curve import (
    Question,
    bytes_curve,
    fixed,
    held_out_pca,
    shipped_questions,
)
from sac_rag.errors import ConfigError

TEXTS = [f"The Lune is a river {n} miles long. " * 4 for n in range(4)]
QUESTIONS = [Question(question="How long?", answer="x", document=text) for text in TEXTS]


@pytest.fixture(scope="module")
def curve(shared_engine):
    codecs = {name: fixed(name) for name in ("exact", "bf16", "int8", "int4")}
    codecs |= held_out_pca(shared_engine, TEXTS, bits=[4, 2], folds=2)
    points = bytes_curve(shared_engine, QUESTIONS, codecs, max_new_tokens=3)
    return {point.codec: point for point in points}


def test_every_codec_is_a_point_and_smaller_ones_are_smaller(curve):
    assert list(curve) == ["exact", "bf16", "int8", "int4", "pca 4", "pca 2"]
    files = [point.file_bytes for point in curve.values()]
    assert files[:4] == sorted(files[:4], reverse=True)
    assert files[5] < files[4]
    for point in curve.values():
        assert 0 < point.payload_bytes < point.file_bytes
        assert point.asked == 4
        assert set(point.scores) == {"paper_em", "paper_f1", "squad_em", "squad_f1"}
        assert point.to_dict()["times_smaller"] == point.full_bytes / point.file_bytes


def test_bytes_are_those_of_a_folder(curve, shared_engine, tmp_path):
    caches = [shared_engine.compress({"text": text}) for text in TEXTS]
    with open_store(tmp_path, codec="int4") as store:
        for number, cache in enumerate(caches):
            store.put(f"{number:032}", cache, inv_freq=shared_engine.inv_freq)
    assert curve["int4"].file_bytes == sum(
        file.stat().st_size for file in tmp_path.glob("??/*anchors*")
    )
    # full keys and values: two bytes a number, every token of the source
    per_anchor = caches[0].nbytes // len(caches[0]) // 4 * 2
    assert curve["exact"].full_bytes == curve["exact"].source_tokens * per_anchor
    assert curve["exact"].source_tokens == sum(cache.num_tokens for cache in caches)


def test_exact_scores_are_the_engines_own(curve, shared_engine):
    requests = [shared_engine.request(one.question, [one.document]) for one in QUESTIONS]
    answers = shared_engine.generate(requests, max_new_tokens=3)
    again = [
        Question(question=one.question, answer=answer.text, document=one.document)
        for one, answer in zip(QUESTIONS, answers, strict=True)
    ]
    [point] = bytes_curve(shared_engine, again, {"exact": fixed("exact")}, max_new_tokens=3)
    assert point.scores["paper_em"] == 1.0


def test_what_cannot_be_measured_is_refused(shared_engine):
    with pytest.raises(ConfigError, match="without any question"):
        bytes_curve(shared_engine, [], {"exact": fixed("exact")})
    with pytest.raises(ConfigError, match="one of 3 parts of 2 documents"):
        held_out_pca(shared_engine, TEXTS[:2], bits=[2], folds=3)


def test_four_bits_keep_the_embedded_models_answers():
    """Measured: 52 of 62 exact, 50 at int4, in 1/18 of the bytes of full keys and values."""
    asked = shipped_questions()
    with SACEngine.from_pretrained() as engine:
        exact, coarse = bytes_curve(
            engine, asked, {name: fixed(name) for name in ("exact", "int4")}
        )
    assert len(asked) > 50
    assert exact.scores["paper_em"] >= 0.8
    assert coarse.scores["squad_f1"] >= 0.95 * exact.scores["squad_f1"]
    assert coarse.times_smaller > 17
