"""Numbers and texts as people read them."""

from __future__ import annotations

import doctest

from sac_rag.cli import output
from sac_rag.cli.demo.data import Question, spread
from sac_rag.cli.inputs import InputDocument


def test_examples():
    outcome = doctest.testmod(output)
    assert outcome.attempted > 3
    assert outcome.failed == 0


def question(document, answer="Yes"):
    return Question(
        question="?", answer=answer, documents=(InputDocument(text=".", source=document),)
    )


def test_questions_are_spread_over_documents():
    questions = [question(name) for name in "aaabbbccc"]
    assert [one.source for one in spread(questions, 2)] == ["a", "c"]
    assert [one.source for one in spread(questions, 5)] == ["a", "b", "c", "a", "b"]
    assert spread(questions, 0) == spread(questions, 99) == questions


def test_an_answer_is_right_whatever_its_case_and_stop():
    assert question("a", "New York").is_right(" new  york.\n")
    assert not question("a", "golden").is_right("golden and black")
