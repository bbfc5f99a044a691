"""Every question is asked once, every answer is kept, and nothing drops out of the count."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sac_rag.data import Passage, QARecord
from sac_rag.errors import ConfigError, DataError
from sac_rag.eval import (
    SUMMARY_METRICS,
    Bootstrap,
    Reply,
    compressed,
    evaluate,
    full,
    llmlingua2,
    none,
)
from sac_rag.importance import KeepClassifier, compress_text
from tests.tiny_classifier import write_classifier

QUICK = Bootstrap(resamples=50)


def _record(index, *, source="one", length=20):
    return QARecord(
        id=f"q{index}",
        documents=(Passage(text=f"{index} " + "it rains " * length), Passage(text="Or not.")),
        question=f"Is it {index}?",
        answers=(f"{index}",),
        source=source,
    )


RECORDS = [_record(index, source="one" if index % 3 else "two") for index in range(5)]


def _ask(engine, records=RECORDS, *, batch_size=2, **given):
    askers = {"sac-5x": compressed(engine), "full": full(engine), "none": none(engine)}
    return evaluate(
        given.pop("askers", askers),
        records,
        batch_size=batch_size,
        max_new_tokens=4,
        bootstrap=QUICK,
        **given,
    )


def _answers(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["id"]: line for line in lines[1:]}


def test_answers_are_those_of_the_engine(shared_engine, tmp_path):
    _ask(shared_engine, outputs=tmp_path)
    for record in RECORDS:
        documents = [one.mapping for one in record.documents]
        alone = {
            "sac-5x": shared_engine.answer(record.question, documents, 4),
            "full": shared_engine.answer(record.question, documents, 4, compress=False),
            "none": shared_engine.answer(record.question, [], 4),
        }
        for method, answer in alone.items():
            assert _answers(tmp_path / f"{method}.jsonl")[record.id]["prediction"] == answer.text


def test_the_batch_size_changes_nothing(shared_engine):
    small, large = (_ask(shared_engine, batch_size=size).to_json() for size in (1, 5))
    assert small == large


class Oracle:
    """Knows every answer, and how often it was asked."""

    identity = "oracle"

    def __init__(self, *, dies_after=None):
        self.asked = []
        self.dies_after = dies_after

    def ask(self, records, *, max_new_tokens):
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += [record.id for record in records]
        return [Reply(text=record.answers[0]) for record in records]


def test_right_answers_score_all_and_wrong_ones_nothing(shared_engine):
    report = _ask(shared_engine, askers={"oracle": Oracle()})
    assert {name: one.value for name, one in report.methods["oracle"].macro.items()} == {
        "paper_em": 1.0,
        "paper_f1": pytest.approx(1.0),
        "squad_em": 1.0,
        "squad_f1": 1.0,
    }
    wrong = [replace(record, answers=("neither",)) for record in RECORDS]
    report = _ask(shared_engine, wrong, askers={"none": none(shared_engine)})
    assert report.methods["none"].micro["paper_em"].value == 0.0


def test_macro_is_the_mean_of_sets(shared_engine):
    one = [replace(record, answers=("x",)) for record in RECORDS]

    class Half(Oracle):
        def ask(self, records, *, max_new_tokens):
            return [Reply(text="x" if record.source == "one" else "y") for record in records]

    report = _ask(shared_engine, one, askers={"half": Half()}).methods["half"]
    assert report.asked_by_source == {"one": 3, "two": 2}
    assert report.macro["paper_em"].value == 0.5
    assert report.micro["paper_em"].value == 0.6


def test_a_stopped_run_goes_on_where_it_was(shared_engine, tmp_path):
    whole = _ask(shared_engine, askers={"m": Oracle()}, outputs=tmp_path / "whole").to_json()
    first = Oracle(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        _ask(shared_engine, askers={"m": first}, outputs=tmp_path / "cut")
    path = tmp_path / "cut" / "m.jsonl"
    with path.open("a") as file:
        file.write('{"key": "half a li')
    second = Oracle()
    assert _ask(shared_engine, askers={"m": second}, outputs=tmp_path / "cut").to_json() == whole
    assert sorted(first.asked + second.asked) == sorted(one.id for one in RECORDS)
    third = Oracle(dies_after=0)
    assert _ask(shared_engine, askers={"m": third}, outputs=tmp_path / "cut").to_json() == whole


def test_equal_questions_are_asked_once_and_count_as_often_as_they_stand(shared_engine):
    oracle = Oracle()
    report = _ask(shared_engine, RECORDS[:1] * 4 + RECORDS[1:2], askers={"m": oracle})
    assert sorted(oracle.asked) == ["q0", "q1"]
    assert report.methods["m"].asked == 5


def test_a_folder_of_another_run_is_refused(shared_engine, tmp_path):
    _ask(shared_engine, askers={"m": Oracle()}, outputs=tmp_path)
    with pytest.raises(DataError, match="answers of another run"):
        _ask(shared_engine, askers={"m": none(shared_engine)}, outputs=tmp_path)
    (tmp_path / "n.jsonl").write_text('{"text": "something else"}\n')
    with pytest.raises(DataError, match="something other than answers"):
        _ask(shared_engine, askers={"n": Oracle()}, outputs=tmp_path)


def test_what_does_not_fit_the_window_counts_as_wrong_and_is_told(shared_engine, tmp_path):
    long = _record(9, length=2000)  # 18,000 tokens; the window has 4,096
    report = _ask(shared_engine, [*RECORDS, long], batch_size=6, outputs=tmp_path)
    for method, too_long in {"sac-5x": 1, "full": 1, "none": 0}.items():
        told = report.methods[method]
        assert (told.asked, told.too_long) == (6, too_long)
        assert told.asked_by_source == {"one": 4, "two": 2}
        line = _answers(tmp_path / f"{method}.jsonl")["q9"]
        assert (line["prediction"] is None) == bool(too_long)
        assert bool(line["too_long"]) == bool(too_long)
    assert "the model has 4096" in _answers(tmp_path / "full.jsonl")["q9"]["too_long"]


def test_the_table_holds_every_method_and_metric(shared_engine):
    report = _ask(shared_engine, metrics=SUMMARY_METRICS)
    markdown, text = report.to_markdown().splitlines(), report.to_text().splitlines()
    assert len(markdown) == len(text) == 2 + 3
    assert all(line.count("|") == markdown[0].count("|") for line in markdown)
    assert [name for name in SUMMARY_METRICS if name not in markdown[0]] == []
    assert [line.split()[0] for line in text[2:]] == ["sac-5x", "full", "none"]
    assert len(report.sources_markdown().splitlines()) == 2 + 2 * 3
    assert json.loads(json.dumps(report.to_json())) == report.to_json()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"records": []}, DataError),
        ({"askers": {}}, ConfigError),
        ({"metrics": {}}, ConfigError),
        ({"batch_size": 0}, ConfigError),
    ],
)
def test_nothing_to_evaluate_is_refused(shared_engine, given, error):
    with pytest.raises(error):
        _ask(shared_engine, **given)


def test_a_method_is_a_file_name(shared_engine, tmp_path):
    with pytest.raises(ConfigError, match="cannot be a file name"):
        _ask(shared_engine, askers={"../m": Oracle()}, outputs=tmp_path)


def test_hard_compression_answers_from_the_words_that_are_kept(shared_engine, tmp_path):
    classifier = KeepClassifier.from_pretrained(write_classifier(tmp_path))
    asker = llmlingua2(shared_engine, ratio=5, classifier=classifier)
    [reply] = asker.ask(RECORDS[:1], max_new_tokens=4)
    kept = [
        compress_text(one.text, ratio=5, classifier=classifier, tokens=shared_engine.tokens)
        for one in RECORDS[0].documents
    ]
    answer = shared_engine.answer(RECORDS[0].question, kept, 4, compress=False)
    assert reply.text == answer.text
    assert reply.usage["prompt_tokens"] == answer.usage.prompt_tokens
    other = llmlingua2(shared_engine, ratio=15, classifier=classifier)
    assert len({asker.identity, other.identity, full(shared_engine).identity}) == 3
