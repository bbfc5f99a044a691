"""Whatever file and form a record comes in, it is the same record; what is broken is named."""

from __future__ import annotations

import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sac_rag.data import Passage, QARecord, ReadReport, read_qa, read_texts
from sac_rag.data.forms.summary import INSTRUCTION
from sac_rag.errors import DataError

FLAT = {"id": "q1", "context": "It rains.", "question": "Is it dry?", "answers": ["no", "never"]}
WANTED = QARecord(
    id="q1",
    documents=(Passage(text="It rains."),),
    question="Is it dry?",
    answers=("no", "never"),
    source="set",
)


def _lines(records) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _write(path, content: bytes):
    path.write_bytes(content)
    return path


def _rest(record, *left_out):
    return {name: value for name, value in record.items() if name not in left_out}


@pytest.mark.parametrize(
    "records",
    [
        [FLAT],
        [{**_rest(FLAT, "id"), "qid": "q1", "subset": "set", "context_tokens": {}}],
        [{**_rest(FLAT, "context"), "documents": ["It rains."]}],
        [{**_rest(FLAT, "context"), "documents": [{"text": "It rains.", "title": ""}]}],
        [{**_rest(FLAT, "question"), "query": "Is it dry?"}],
        [{**_rest(FLAT, "id", "question"), "_id": "q1", "input": "Is it dry?"}],
        [
            {"header": {"dataset": "set", "split": "dev"}},
            {"context": "It rains.", "qas": [{**_rest(FLAT, "id", "context"), "qid": "q1"}]},
        ],
    ],
    ids=["flat", "hub", "texts", "documents", "summary", "longbench", "mrqa"],
)
def test_every_form_gives_the_same_record(tmp_path, records):
    path = _write(tmp_path / "set.jsonl", _lines(records))
    assert list(read_qa(path)) == [WANTED]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.xz", "parquet"])
def test_every_file_gives_the_same_record(tmp_path, suffix):
    path, pack = tmp_path / f"set.{suffix}", {"gz": gzip.compress, "xz": lzma.compress}
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([FLAT]), path)
    else:
        _write(path, pack.get(suffix[-2:], bytes)(_lines([FLAT])))
    assert list(read_qa(path)) == [WANTED]


def test_a_folder_or_a_pattern_is_its_files(tmp_path):
    for name in ("b", "a"):
        _write(tmp_path / f"{name}.jsonl", _lines([{**FLAT, "id": name}]))
    _write(tmp_path / "notes.md", b"not data")
    assert [one.id for one in read_qa(tmp_path)] == ["a", "b"]
    assert [one.id for one in read_qa(str(tmp_path / "*.jsonl"))] == ["a", "b"]
    assert [one.id for one in read_qa([tmp_path / "b.jsonl", tmp_path / "a.jsonl"])] == ["b", "a"]


def test_documents_keep_order_title_and_gold(tmp_path):
    documents = [{"title": "T", "text": "one", "gold": True}, {"text": "two", "gold": False}, "tri"]
    record = {"documents": documents, "question": "?", "answers": ["a"]}
    (read,) = read_qa(_write(tmp_path / "rag.jsonl", _lines([record])))
    assert read.documents == (
        Passage(text="one", title="T", gold=True),
        Passage(text="two", gold=False),
        Passage(text="tri"),
    )
    assert (read.id, read.source) == ("rag-1", "rag")


def test_a_summary_without_a_query_is_given_an_instruction(tmp_path):
    records = [
        {"context": "long", "query": "", "answers": ["short"]},
        {"report": "long", "summary": "short"},
    ]
    read = list(read_qa(_write(tmp_path / "s.jsonl", _lines(records))))
    assert [(one.question, one.answers) for one in read] == [(INSTRUCTION, ("short",))] * 2


BROKEN = {
    "has the keys": {"context": "a", "question": "b"},
    "fits 2 forms at once": {**FLAT, "query": "b"},
    "should be a record, found a list": [1],
    "should have a list of answers, found an empty list": {**FLAT, "answers": []},
    "should have a list of answers, found a str": {**FLAT, "answers": "no"},
    "an answer is empty": {**FLAT, "answers": ["no", " "]},
    "question should be a text, found nothing": {**FLAT, "question": None},
    "a document is empty": {**FLAT, "context": "\n"},
    "lone surrogate": {**FLAT, "context": "\ud800"},
    "'qas' should be a list": {"context": "a", "qas": None},
    "a document should be a text or a mapping": {**_rest(FLAT, "context"), "documents": [3]},
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_bad_record_is_refused_by_file_and_line(tmp_path, reason):
    path = _write(tmp_path / "set.jsonl", _lines([FLAT, BROKEN[reason]]))
    with pytest.raises(DataError, match=r"set\.jsonl:2: ") as refusal:
        list(read_qa(path))
    assert reason in str(refusal.value)


@pytest.mark.parametrize("line", [b'{"context": "cut', b'"\xff"', b"[" * 100_000])
def test_a_line_that_is_no_json_or_no_utf8_is_a_bad_record(tmp_path, line):
    path = _write(tmp_path / "set.jsonl", _lines([FLAT]) + line + b"\n" + _lines([FLAT]))
    report = ReadReport(max_bad=1)
    assert len(list(read_qa(path, report=report))) == report.total == 2
    assert [one.where for one in report.bad] == [f"{path}:2"]


def test_bad_records_are_passed_over_up_to_the_limit(tmp_path):
    bad = {**FLAT, "answers": []}
    path = _write(tmp_path / "set.jsonl", _lines([bad, FLAT, bad, FLAT]))
    assert len(list(read_qa(path, max_bad=2))) == 2
    with pytest.raises(DataError, match="2 bad records after 1 good, and max_bad=1"):
        list(read_qa(path, max_bad=1))


def test_one_broken_question_leaves_its_neighbours(tmp_path):
    asked = {"question": "?", "answers": ["a"]}
    questions = [asked, {"question": "?"}, asked]
    path = _write(tmp_path / "m.jsonl", _lines([{"context": "c", "qas": questions}]))
    report = ReadReport(max_bad=1)
    assert [one.id for one in read_qa(path, report=report)] == ["m-1-1", "m-1-3"]
    assert "(question 2)" in report.bad[0].reason


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jsonl", b"", "holds no record"),
        ("blank.jsonl", b"\n \n", "holds no record"),
        ("header.jsonl", _lines([{"header": {}}]), "holds no good record"),
        ("cut.jsonl.xz", lzma.compress(_lines([FLAT] * 9))[:-20], "cannot be read on"),
        ("cut.jsonl.gz", gzip.compress(_lines([FLAT] * 9))[:-9], "cannot be read on"),
        ("plain.jsonl.gz", _lines([FLAT]), "cannot be read on after 0"),
        ("plain.jsonl.xz", _lines([FLAT]), "cannot be read on after 0"),
        ("no.parquet", b"PAR1", "cannot be read on"),
        ("no.csv", b"a,b", "of no kind that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whatever_the_limit(tmp_path, name, content, says):
    path = _write(tmp_path / name, content)
    with pytest.raises(DataError, match=says) as refusal:
        list(read_qa(path, max_bad=10**6))
    assert name in str(refusal.value)


@pytest.mark.parametrize(
    "source", ["", "gone.jsonl", "gone/*.jsonl", "ftp://x/y", "hub://x/y", "hub://x/y?split=a&s=b"]
)
def test_a_source_that_is_none_is_refused(source):
    with pytest.raises(DataError):
        list(read_qa(source))


def test_texts_are_records_or_parts_of_a_file(tmp_path):
    parted = _write(tmp_path / "t.txt", b"one\nline\n<|endoftext|>\n\n<|endoftext|>\ntwo\r\n")
    assert [(one.id, one.text) for one in read_texts(parted)] == [
        ("t-1", "one\nline"),
        ("t-6", "two"),
    ]
    packed = _write(tmp_path / "u.txt.xz", lzma.compress(parted.read_bytes()))
    assert [one.text for one in read_texts(packed)] == ["one\nline", "two"]
    records = _write(tmp_path / "v.jsonl", _lines([{"text": "a", "id": 7, "meta": {}}]))
    assert [(one.id, one.text) for one in read_texts(records)] == [("7", "a")]


def test_a_broken_text_is_one_bad_record(tmp_path):
    path = _write(tmp_path / "t.txt", b"good\n<|endoftext|>\nbad \xff\nstill\n<|endoftext|>\ngood")
    report = ReadReport(max_bad=1)
    assert [one.text for one in read_texts(path, report=report)] == ["good", "good"]
    assert report.bad[0].where == f"{path}:3"
    assert "line 3 is not valid UTF-8" in report.bad[0].reason


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = _write(tmp_path / "t.txt", b"\xef\xbb\xbfgood")
    assert [one.text for one in read_texts(path)] == ["good"]
