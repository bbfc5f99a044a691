"""Questions cut by machine can be answered from what is read."""

from __future__ import annotations

import json
import lzma
import random

import cloze
import cloze_questions
import pytest
from readings import from_documents

from sac_rag.data import QARecord, read_qa

PARAGRAPH = (
    "The bridge at Norby was designed by Anna Berg, an engineer from Oslo, between 1901 and 1905. "
    "It was opened on 3 May 1906 before a crowd of 2,500 people and one very old dog. "
    "Engineers from many countries came to see how Anna Berg had solved the problem of the tides. "
    "In the winter of 1940 the bridge was closed for 11 weeks because of ice."
)


@pytest.mark.parametrize("seed", range(20))
def test_every_answer_stands_in_the_text(seed):
    reading = cloze.read(PARAGRAPH, random.Random(seed))
    assert reading is not None
    assert 0 < len(reading.questions) <= cloze.PER_PARAGRAPH
    for one in reading.questions:
        assert one.answer in reading.text
        gapped = cloze.GAP in one.question
        assert gapped or any(word in one.question for word in cloze.ASKED[one.kind])


def test_all_kinds_are_found_and_a_hidden_sentence_is_answered_by_another():
    readings = [cloze.read(PARAGRAPH, random.Random(seed)) for seed in range(60)]
    kinds = {one.kind for reading in readings for one in reading.questions}
    assert kinds == {"date", "year", "number", "name"}
    hidden = [reading for reading in readings if reading.text != PARAGRAPH]
    assert hidden
    assert any(one.answer == "Anna Berg" for reading in hidden for one in reading.questions)


def test_the_same_seed_asks_the_same():
    assert cloze.read(PARAGRAPH, random.Random(3)) == cloze.read(PARAGRAPH, random.Random(3))


def test_nothing_to_ask_gives_nothing():
    assert (
        cloze.read("all of this is in small letters and has no figures.", random.Random(0)) is None
    )


def test_paragraphs_of_the_development_sets_are_passed_over():
    from corpus import Contexts

    assert from_documents([PARAGRAPH], 0, Contexts([]))
    assert not from_documents([PARAGRAPH], 0, Contexts([PARAGRAPH.lower()]))


def test_cloze_questions_are_a_question_set(tmp_path):
    """Two of a paragraph, none of one that a development set asks about."""
    names = ["Norby", "Selby", "Upton", "Lowick", "Dorn"]
    paragraphs = [PARAGRAPH.replace("Norby", name) for name in names]
    held_out = (
        "When the old harbour of Tarland was closed in 1911 all of its ships went to Rothley. "
    )
    held_out = " ".join([held_out.strip()] * 4)
    (tmp_path / "qa").mkdir()
    record = {"context": held_out, "question": "When?", "answers": ["1911"]}
    dev = tmp_path / "qa" / "policyqa.dev.jsonl.xz"
    dev.write_bytes(lzma.compress((json.dumps(record) + "\n").encode()))
    texts, out = tmp_path / "texts.txt", tmp_path / "out" / "cloze.train.jsonl.xz"
    texts.write_text("\n<|endoftext|>\n".join([held_out, *paragraphs]))
    words = ["--data", tmp_path, "--texts", texts, "--out", out]

    def cut(*more: str) -> list[QARecord]:
        asked = cloze_questions.arguments().parse_args([*map(str, words), *more])
        count = cloze_questions.main(asked)
        records = list(read_qa(out))
        assert len(records) == len({one.id for one in records}) == count
        return records

    records = cut()
    assert len(records) == cloze_questions.PER_PARAGRAPH * len(names)
    for one in records:
        [document] = one.documents
        assert one.answers[0] in document.text
        assert "Tarland" not in document.text
    assert cut() == records
    assert cut("--most", "3") == records[:3]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_texts_without_a_paragraph_give_no_file(data, tmp_path):
    (tmp_path / "texts.txt").write_text("Too short to ask about.")
    words = ["--data", data, "--texts", tmp_path / "texts.txt", "--out", tmp_path / "out.jsonl.xz"]
    with pytest.raises(SystemExit, match="holds no paragraph to ask about"):
        cloze_questions.main(cloze_questions.arguments().parse_args(list(map(str, words))))
    assert not list(tmp_path.glob("*.xz"))
