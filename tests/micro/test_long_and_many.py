"""Texts are grown and placed as they say; the whole script at toy size on the embedded model."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import long_and_many
import pytest
from long_and_many import GROWN, NATURAL, PLACED
from placing import PLACES, Lengths, among, by_length, grow, put_gold

from sac_rag.data import Passage, QARecord
from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

LENGTHS = Lengths(tokens=Tokens(byte_tokenizer()), prompt=PromptFormat(), chunk_size=510)
TEXTS = [f"The inn of parish {n} sold {'ale ' * (20 + n % 7)}and bread." for n in range(300)]
OTHERS = [Passage(text=text) for text in TEXTS]
ASKED = QARecord(
    id="one",
    documents=(Passage(text="The mill at Norby was built by Anna Berg in 1906."),),
    question="Who built the mill?",
    answers=("Anna Berg",),
    source="toy",
)


def _grow(chunks: int, record: QARecord = ASKED, others=OTHERS) -> QARecord | None:
    count, lengths = LENGTHS.tokens.count, LENGTHS
    return grow(record, others, chunks=chunks, lengths=lengths, count=count, seed=0)


@pytest.mark.parametrize("chunks", [1, 2, 3, 8, 32, 64])
def test_a_document_grows_to_its_chunks_around_the_answer(chunks):
    grown = _grow(chunks)
    assert grown is not None
    assert LENGTHS.chunks(grown) == chunks
    [document] = grown.documents
    assert document.text.count(ASKED.documents[0].text) == 1
    assert (grown.question, grown.answers, grown.id) == (ASKED.question, ASKED.answers, ASKED.id)
    assert _grow(chunks) == grown
    if chunks == 1:
        assert grown == ASKED


def test_the_answer_keeps_its_share_of_the_way():
    own = ASKED.documents[0].text
    shares = []
    for chunks in (16, 32, 64):
        [document] = _grow(chunks).documents
        shares.append(document.text.index(own) / len(document.text))
    assert max(shares) - min(shares) < 0.05


def test_places_are_drawn_anew_for_each_question():
    starts = set()
    for index in range(20):
        record = QARecord(**{**vars(ASKED), "id": f"q{index}"})
        [document] = _grow(8, record).documents
        starts.add(round(document.text.index(ASKED.documents[0].text) / len(document.text), 1))
    assert len(starts) > 5


def test_what_says_an_answer_stands_beside_nothing():
    saying = [Passage(text=f"anna berg again, {n} " + "and more " * 20) for n in range(40)]
    assert _grow(3, others=saying) is None
    assert among(ASKED, saying, count=1, seed=0) is None
    mixed = among(ASKED, [*saying, *OTHERS], count=5, seed=0)
    assert mixed is not None
    assert [one.gold for one in mixed.documents] == [True] + [False] * 5
    assert not any("anna berg" in one.text for one in mixed.documents[1:])


def test_too_few_texts_make_no_document():
    assert _grow(64, others=OTHERS[:20]) is None
    assert among(ASKED, OTHERS[:3], count=4, seed=0) is None


def test_gold_is_moved_and_nothing_else():
    documents = tuple(Passage(text=str(n), gold=n in (1, 4)) for n in range(6))
    record = QARecord(**{**vars(ASKED), "documents": documents})
    found = {place: [one.text for one in put_gold(record, place).documents] for place in PLACES}
    assert found == {
        "first": ["1", "4", "0", "2", "3", "5"],
        "middle": ["0", "2", "1", "4", "3", "5"],
        "last": ["0", "2", "3", "5", "1", "4"],
    }
    with pytest.raises(ValueError, match="0 documents are gold"):
        put_gold(ASKED, "first")
    with pytest.raises(ValueError, match="no place is called 'end'"):
        put_gold(record, "end")


def test_questions_are_sorted_by_their_chunks():
    records = [_grow(chunks) for chunks in (1, 2, 3, 4, 5, 9)]
    found = by_length(records, LENGTHS, (1, 2, 4, 8))
    assert {name: len(part) for name, part in found.items()} == {
        "1": 1,
        "2": 1,
        "3-4": 2,
        "5-8": 1,
        "9+": 1,
    }


def _write(path: Path, records: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(lzma.compress(text.encode(), preset=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder with one set for each part; the others are absent."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(0)
    towns = [f"{a}{b}" for a in ("Nor", "Sel", "Up", "Low", "Dorn") for b in ("by", "ton", "wick")]

    def text(town: str, year: int) -> str:
        return f"The mill of {town} was built in {year}. " + "It was a good mill. " * 12

    rows = [(town, 1500 + 7 * index) for index, town in enumerate(towns * 4)]
    asked = [
        {"context": text(*row), "question": f"When was {row[0]} built?", "answers": [str(row[1])]}
        for row in rows
    ]
    _write(folder / f"{GROWN[0]}.jsonl.xz", asked)
    joined = []
    for town, year in rows[:4]:
        documents = [{"title": town, "text": text(town, year), "gold": True}]
        documents += [{"title": a, "text": text(a, b), "gold": False} for a, b in rows[20:24]]
        draw.shuffle(documents)
        joined.append(
            {"documents": documents, "question": f"When was {town} built?", "answers": [str(year)]}
        )
    _write(folder / f"{PLACED[1]}.jsonl.xz", joined)
    meetings = [
        {"context": text("Norby", 1900) * times, "query": "Sum it up.", "answers": ["A mill."]}
        for times in (1, 9, 9, 200)
    ]
    _write(folder / f"{NATURAL[0]}.jsonl.xz", meetings)
    return folder


def _run(folder: Path, out: Path, *more: str) -> dict:
    words = ["--data", folder, "--model", "embedded", "--out", out, "--limit", 2, "--batch", 2]
    words += ["--chunks", 1, 3, 64, "--beside", 9, *more]
    return long_and_many.main(long_and_many.arguments().parse_args(list(map(str, words))))


def test_the_script_reports_all_three_parts_and_what_it_passed_over(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(long_and_many, "SUMMARY_TOKENS", 8)
    report = _run(folder, tmp_path)
    lines = {(one["part"], one["set"], one["at"]): one for one in report["asked"]}
    assert list(lines) == [
        ("grown", GROWN[0], "1"),
        ("grown", GROWN[0], "3"),
        *(("placed", f"{GROWN[0]} and 9 others", place) for place in PLACES),
        *(("placed", PLACED[1], place) for place in PLACES),
        ("natural", NATURAL[0], "1"),
        ("natural", NATURAL[0], "2-3"),
    ]
    for line in lines.values():
        assert set(line["methods"]) == {"compressed", "full"}
        for method in line["methods"].values():
            assert method["asked"] in (1, 2)
            assert method["too_long"] == 0
    short, long = (
        lines["grown", GROWN[0], at]["methods"]["compressed"]["mean_counts"] for at in ("1", "3")
    )
    assert 1020 < long["source_tokens"] <= 1530
    assert short["source_tokens"] <= 510
    why = {(one["part"], one["set"]): one["why"] for one in report["passed_over"]}
    assert why["placed", PLACED[0]] == f"there is no {folder / PLACED[0]}.jsonl.xz"
    assert "do not fit the model's 8,192 positions" in why["grown", GROWN[0]]
    assert "do not fit the model's 8,192 positions" in why["natural", NATURAL[0]]
    written = (tmp_path / "report.md").read_text()
    for word in ("grown: ", "placed: ", "natural: ", "ROUGE-1", "SQuAD F1", "passed over"):
        assert word in written
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_broken_off_it_goes_on_from_its_answers(folder, tmp_path, monkeypatch):
    more = ("--roads", "none")
    monkeypatch.setattr(long_and_many, "NATURAL", ())
    first = _run(folder, tmp_path / "a", *more, "--minutes", "1e-9")
    assert not first["asked"]
    assert any("the minutes are over" in one["why"] for one in first["passed_over"])
    # what was asked before a cell that ends it all is at home already
    one, left = long_and_many.ask, [True, True]

    def killed(cell, *rest):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return one(cell, *rest)

    monkeypatch.setattr(long_and_many, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        _run(folder, tmp_path / "a", *more, "--report", tmp_path / "home")
    assert len(json.loads((tmp_path / "home" / "report.json").read_text())["asked"]) == 2
    monkeypatch.setattr(long_and_many, "ask", one)
    whole = _run(folder, tmp_path / "a", *more)
    answers = {path: path.read_bytes() for path in (tmp_path / "a" / "answers").rglob("*.jsonl")}
    assert answers
    assert _run(folder, tmp_path / "a", *more) == whole
    assert {path: path.read_bytes() for path in answers} == answers
