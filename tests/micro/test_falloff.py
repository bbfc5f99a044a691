"""Arrangements put what they say where they say; the script at toy size on the embedded model."""

from __future__ import annotations

import json

import falloff
import pytest
import torch

from sac_rag.data import Passage, QARecord
from sac_rag.engine import SACEngine
from sac_rag.train.samples import Sample

TEXTS = [
    "The mill of Norby is old.",
    "Anna runs the inn at Upton.",
    "Clara keeps bees.",
    "It rains.",
]


@pytest.fixture(scope="module")
def engine():
    with SACEngine.from_pretrained("embedded") as one:
        yield one


@pytest.fixture(scope="module")
def asked(engine):
    gold, *others = TEXTS
    record = QARecord(
        id="one",
        documents=(
            Passage(text=gold, gold=True),
            *(Passage(text=one, gold=False) for one in others),
        ),
        question="What is old?",
        answers=("the mill",),
        source="toy",
    )
    ids = engine.tokens.encode("Question: what?")
    return falloff.Asked(record=record, sample=Sample(documents=(), prompt=ids, target=[5, 6]))


@torch.inference_mode()
def test_arrangements(engine, asked):
    rows = falloff.Arrangements(engine).rows(asked.beside(2))
    counts = [engine.count_anchors(text) for text in TEXTS[:3]]
    alone, off = (rows[n].anchors for n in ("alone", "alone, the question so far off"))
    away = rows["the others alone"].anchors.span
    assert len(alone) == len(off) == counts[0]
    assert torch.equal(off.positions, alone.positions)
    assert torch.equal(off.keys, alone.keys)
    assert off.span == rows["first"].anchors.span == rows["last"].anchors.span == alone.span + away
    assert torch.equal(rows["first"].anchors.keys[:, :, : counts[0]], alone.keys)
    assert (rows["last"].anchors.positions[-counts[0] :] - away).tolist() == (
        alone.positions.tolist()
    )
    headless = rows["first, without the others' first anchors"].anchors
    assert len(headless) == sum(counts) - 2
    assert headless.span == rows["first"].anchors.span


def test_in_full_is_what_the_engine_asks(engine, asked):
    rows = falloff.Arrangements(engine).in_full(asked)
    said = {name: engine.tokens.decode(list(row.token_ids)) for name, row in rows.items()}
    assert [said["in full: first"].index(text) for text in TEXTS] == sorted(
        said["in full: first"].index(text) for text in TEXTS
    )
    assert said["in full: last"].index(TEXTS[0]) > said["in full: last"].index(TEXTS[3])
    assert TEXTS[0] not in said["in full: the others alone"]
    documents = [{"text": text} for text in TEXTS]
    [request] = [engine.request("What?", documents, compress=False)]
    by_engine = engine._open().prompts._text_ids(request, has_anchors=False)
    context = falloff.Arrangements(engine)._text(asked.record.documents)
    assert by_engine[: len(context)] == context


def test_the_whole_script(data, tmp_path):
    out = tmp_path / "report.json"
    pattern = str(data / "qa" / "*.dev.jsonl.xz")
    args = ["--model", "embedded", "--data", pattern, "--others", "1", "2", "--questions", "3"]
    found = falloff.main(
        falloff.arguments().parse_args([*args, "--roads", "compressed", "full", "--out", str(out)])
    )
    assert json.loads(out.read_text()) == found
    assert found["alone"]["more_than_alone"] == [0, 0, 0]
    assert found["in full: alone"]["more_than_alone"] == [0, 0, 0]
    assert {"first, 1 others", "last, 2 others", "in full: middle, 2 others"} <= set(found)
    assert all(one["nats_a_token"] > 0 for one in found.values())
    assert len({one["questions"] for one in found.values()}) == 1


def test_what_does_not_fit_is_said(data):
    pattern = str(data / "qa" / "*.dev.jsonl.xz")
    words = ["--model", "embedded", "--data", pattern, "--others", "9", "--questions", "3"]
    with pytest.raises(SystemExit, match="give fewer --others"):
        falloff.main(falloff.arguments().parse_args(words))
