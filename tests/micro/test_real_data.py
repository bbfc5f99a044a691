"""Corpus, cloze and readings on the real data folder: SAC_RAG_DATA names it."""

from __future__ import annotations

import os
import random
from itertools import islice
from pathlib import Path

import cloze
import pytest
from corpus import (
    HELD_OUT_EVERY,
    HELD_OUT_FROM,
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    TEXTS,
    TRAIN_SETS,
    development_contexts,
    held_out_texts,
    qa_paths,
    text_path,
    training_questions,
    training_texts,
)
from readings import from_records

from sac_rag.prompts import PromptFormat

DATA = Path(os.environ.get("SAC_RAG_DATA") or "no folder")

pytestmark = pytest.mark.skipif(
    not text_path(DATA, HELD_OUT_FROM).is_file(),
    reason="set SAC_RAG_DATA to the folder with text/ and qa/ to run it",
)


def test_every_file_that_is_named_is_there():
    paths = [text_path(DATA, name) for name in TEXTS]
    paths += qa_paths(DATA, TRAIN_SETS, split="train")
    paths += qa_paths(DATA, (*IN_DOMAIN, *OUT_OF_DOMAIN), split="dev")
    assert [path for path in paths if not path.is_file()] == []


def test_what_is_held_out_is_not_trained_on():
    trained = set(islice(training_texts(DATA, HELD_OUT_FROM), 3 * (HELD_OUT_EVERY - 1)))
    kept = list(islice(held_out_texts(DATA), 3))
    assert len(trained) == 3 * (HELD_OUT_EVERY - 1)
    assert not trained & set(kept)


def test_wikipedia_gives_questions_whose_answers_stand_in_the_text():
    known, made = development_contexts(DATA), []
    for text in islice(training_texts(DATA, HELD_OUT_FROM), 100):
        for index, paragraph in enumerate(cloze.paragraphs(text)):
            if not known.repeats(paragraph):
                reading = cloze.read(paragraph, random.Random(index))
                made += [(reading.text, one) for one in reading.questions] if reading else []
    assert len(made) > 1000
    assert all(one.answer in text for text, one in made)
    assert {one.kind for _, one in made} == {"date", "year", "number", "name"}


def test_the_development_sets_know_their_own_contexts():
    known = development_contexts(DATA)
    asked = from_records(training_questions(DATA, ("squad11_part",)), PromptFormat())
    assert sum(known.repeats(text) for text, _ in asked) < 0.02 * len(asked)
    assert sum(len(questions) for _, questions in asked) > 20_000
