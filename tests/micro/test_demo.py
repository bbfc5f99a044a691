"""The documents of the demonstration: enough, short, and each answer stands in its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "train" / "micro" / "demo"
TEXTS = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.md"))}
QUESTIONS = [json.loads(line) for line in (FOLDER / "questions.jsonl").read_text().splitlines()]


def test_there_are_enough_short_ones():
    assert len(TEXTS) >= 20
    for name, text in TEXTS.items():
        assert text.startswith("# "), name
        assert 150 <= len(text.split()) <= 400, name


@pytest.mark.parametrize("name", TEXTS)
def test_each_is_asked_about_and_answers(name):
    asked = [one for one in QUESTIONS if one["document"] == name]
    assert 3 <= len(asked) <= 5
    assert len({one["question"] for one in asked}) == len(asked)
    for one in asked:
        assert one["answer"] in TEXTS[name], one
        assert len(one["answer"].split()) <= 8
        assert one["answer"] not in one["question"]


def test_questions_are_about_documents_that_there_are():
    assert {one["document"] for one in QUESTIONS} == set(TEXTS)
    assert all(set(one) == {"question", "answer", "document"} for one in QUESTIONS)


def test_an_answer_is_not_said_by_another_text_for_the_same_question():
    """Joined documents do not answer each other's questions: the question names its own matter."""
    assert len({one["question"] for one in QUESTIONS}) == len(QUESTIONS)
