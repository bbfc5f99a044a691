"""Each measurement at toy size: labelled, positive, finite. No test says how long a thing takes."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest

from sac_rag.bench import encoder
from sac_rag.bench.decoding import measure_decoding
from sac_rag.bench.equal_bytes import measure_equal_bytes
from sac_rag.bench.figures import draw
from sac_rag.bench.run import MEASUREMENTS, run_bench
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import open_subject
from sac_rag.data import QARecord
from sac_rag.data.records import Passage
from sac_rag.errors import ConfigError
from sac_rag.generation.greedy_head import GreedyHead
from sac_rag.generation.packed import PackedWeights

NAMES = [name for name in MEASUREMENTS if name != "equal-bytes"]


@pytest.fixture(scope="module")
def report(subject, small):
    return run_bench(NAMES, subject, small, command="sac-rag bench")


@pytest.fixture(scope="module")
def sections(report):
    return {section.name: section for section in report.sections}


def test_every_number_is_positive_and_finite(sections):
    assert list(sections) == NAMES
    for section in sections.values():
        assert section.rows
        for row in section.rows:
            assert row.contender
            spreads = [one for one in (row.wall_s, row.cpu_s) if one is not None]
            for spread in spreads:
                assert 0 <= spread.low <= spread.median <= spread.high < math.inf
            assert row.wall_s is None or row.wall_s.median > 0
            figures = [value for value in row.figures.values() if value is not None]
            assert all(0 <= value < math.inf for value in figures)
        for one in section.ratios:
            assert 0 < one.value.median < math.inf


def contenders(section):
    return {row.contender for row in section.rows}


def test_what_is_compared_is_there(sections):
    assert contenders(sections["encoder"]) == {"ours", "released procedure", "plain prefill"}
    assert {"anchors, memory", "anchors, disk, cold", "full text", "full KV, memory"} <= (
        contenders(sections["first-token"])
    )
    assert {"part: load", "part: move and lay out", "part: prompt prefill"} <= (
        contenders(sections["first-token"])
    )
    assert contenders(sections["decoding"]) == {
        "anchors",
        "full text",
        "rows behind anchors",
        "rows behind full KV",
    }
    assert {"first token", "look", "get", "put", "batch"} == contenders(sections["growth"])


def test_fast_greedy_decoding_is_raced_if_asked(subject, small, monkeypatch):
    used = set()
    for part in (PackedWeights, GreedyHead):

        def note(self, enter=part.__call__):
            used.add(type(self))
            return enter(self)

        monkeypatch.setattr(part, "__call__", note)
    asked = replace(small, contexts=(60,), fast_greedy=True)
    first, growth = (MEASUREMENTS[name](subject, asked) for name in ("first-token", "growth"))
    assert {f"{name}, fast greedy" for name in ("anchors, memory", "full text")} <= (
        contenders(first)
    )
    assert "full text / anchors, memory, fast greedy" in {one.name for one in first.ratios}
    assert {"batch", "batch, fast greedy"} <= contenders(growth)
    assert used == {PackedWeights, GreedyHead}
    assert subject.backbone.while_decoding is nullcontext


def test_the_encoder_is_raced_compiled_if_asked(subject, small, monkeypatch):
    monkeypatch.setattr(encoder, "COMPILE", {"backend": "eager"})
    plain = subject.backbone.run_encoder
    section = MEASUREMENTS["encoder"](subject, replace(small, contexts=(60,), compiled=True))
    assert "ours, compiled" in contenders(section)
    assert "released procedure / ours, compiled" in {one.name for one in section.ratios}
    assert subject.backbone.run_encoder is plain


def test_sizes_are_what_was_asked_for(sections, small, subject):
    for name in ("encoder", "first-token", "decoding"):
        assert {row.at["context"] for row in sections[name].rows} == set(small.contexts)
    store = sections["store"].rows
    assert {row.at["threads"] for row in store if "threads" in row.at} == set(small.readers)
    assert {row.at["processes"] for row in store if "processes" in row.at} == {2}
    growth = sections["growth"].rows
    assert {row.at["entries"] for row in growth if "entries" in row.at} == set(small.entries)
    assert {row.at["documents"] for row in growth if "documents" in row.at} == {1, 2}
    for row in sections["decoding"].rows:
        asked = row.at["context"] + small.question_tokens
        most = row.at.get("batch", 1) * (asked + 8) * subject.token_bytes
        assert row.figures["cache_bytes"] <= most
    anchors, text = (
        next(row for row in sections["decoding"].rows if row.contender == name)
        for name in ("anchors", "full text")
    )
    assert anchors.figures["cache_bytes"] < text.figures["cache_bytes"]


def test_rows_that_memory_does_not_hold_are_said_and_not_run(subject, small):
    section = measure_decoding(subject, replace(small, contexts=(60,), batches=(1, 10**10)))
    assert contenders(section) == {"anchors", "full text"}
    [reason] = section.not_run
    assert "10000000000 rows of 60 tokens" in reason
    assert "GB are free" in reason


def test_what_does_not_fit_is_said_and_not_guessed(subject, small):
    far = replace(small, contexts=(60, 5000))
    for name in ("encoder", "first-token", "decoding"):
        section = MEASUREMENTS[name](subject, far)
        assert any("window" in reason for reason in section.not_run)
    first = MEASUREMENTS["first-token"](subject, far)
    assert {row.at["context"] for row in first.rows} == {60}


def test_the_report_is_json_and_markdown(report):
    written = json.loads(json.dumps(report.to_json()))
    assert written["machine"]["versions"]["torch"]
    assert written["machine"]["threads"] == 1
    assert written["subject"]["ratio"] == 5
    assert [section["name"] for section in written["sections"]] == NAMES
    tables = report.to_markdown()
    for section in report.sections:
        assert f"## {section.title}" in tables
        assert all(row.contender in tables for row in section.rows)
        assert all(reason in tables for reason in section.not_run)


def test_figures_are_pictures(report, tmp_path):
    pytest.importorskip("matplotlib")
    made = draw(report.sections, tmp_path)
    assert [path.stem for path in made] == NAMES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)


@pytest.fixture(scope="module")
def records():
    text = "t7 t8 t9 " * 20
    return [
        QARecord(
            id=str(number),
            documents=(Passage(text=text + f"t{number + 20}"), Passage(text="t9 t10 t11 t12")),
            question="t30 t31",
            answers=("t8",),
            source="toy",
        )
        for number in range(3)
    ]


def test_all_are_asked_the_same_at_the_same_size(subject, small, records):
    trained = replace(subject, trained=True)
    section = measure_equal_bytes(trained, small, records=records)
    rows = {row.contender: row.figures for row in section.rows}
    assert {"SAC, ours, 5x", "full", "none", "truncation", "random tokens"} <= set(rows)
    assert all(figures["asked"] == 3 for figures in rows.values())
    places = rows["SAC, ours, 5x"]["places"]
    assert rows["truncation"]["places"] == rows["random tokens"]["places"] == places
    assert rows["truncation"]["kept_bytes"] == places * subject.token_bytes
    assert rows["SAC, ours, 5x"]["kept_bytes"] == places * subject.token_bytes
    assert rows["full"]["places"] > 4 * places
    for figures in rows.values():
        low, score, high = (figures[f"squad_f1{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= score <= high <= 1
    assert any("CARTRIDGE" in reason for reason in section.not_run)


def test_full_answers_as_the_engine_reads_in_full(subject, small, records):
    """The rivals' road gives the answers of the engine's own road."""
    from sac_rag.bench.equal_bytes import _context
    from sac_rag.bench.plain import PlainModel

    with subject.engine() as engine:
        for record in records:
            documents = [passage.mapping for passage in record.documents]
            request = engine.request(record.question, documents, compress=False)
            [answer] = engine.generate([request], max_new_tokens=6)
            context, places = _context(engine, record)
            model = PlainModel(subject.backbone)
            question = engine.tokens.encode(engine.prompt_format.question(record.question))
            ids = model.answer(
                model.prefill(context), question, max_new_tokens=6, eos_ids=engine.tokens.eos_ids
            )
            kept = [one for one in ids if one not in engine.tokens.eos_ids]
            assert engine.tokens.decode(kept) == answer.text
            assert answer.usage.prompt_tokens == len(context) + len(question)
            anchors = engine.generate([engine.request(record.question, documents)])[0]
            assert anchors.usage.anchors == places


def test_noise_is_not_scored(subject, small):
    with pytest.raises(ConfigError, match="noise"):
        measure_equal_bytes(subject, small)
    [section] = run_bench([], subject, small, on_done=None).sections[-1:]
    assert section.not_run
    assert not section.rows


def test_shapes_by_name():
    with pytest.raises(ConfigError, match="2 to 16"):
        open_subject("llama-1b-shape", layers=17, device="cpu")
    with pytest.raises(ConfigError, match="random shapes only"):
        open_subject("embedded", layers=2)
    with pytest.raises(ConfigError, match="random weights"):
        open_subject("llama-1b-shape", adapter="somewhere")
    subject = open_subject("embedded", device="cpu")
    assert subject.trained
    assert len(subject.texts(1000, 500)) == 2


@pytest.mark.parametrize("wrong", [{"contexts": ()}, {"readers": (1, 1)}, {"new_tokens": 1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        Settings(**wrong)
