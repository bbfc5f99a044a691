"""The fictional atlas: answers stand in the text, once, and training never sees held-out names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from atlas import World, write
from curriculum import LEVELS, Coder, make_batch
from make_demo import main as make_demo
from transformers import AutoTokenizer

SHIPPED = Path(__file__).parents[2] / "sac_rag" / "embedded"


@pytest.fixture(scope="module")
def coder() -> Coder:
    return Coder(AutoTokenizer.from_pretrained(SHIPPED / "nano"))


def test_a_document_answers_each_of_its_questions_once(coder):
    world = World("questions")
    for _ in range(20):
        document = write(world, coder.count, 400)
        asked = [(one.name, one.question) for one in document.questions]
        assert len(set(asked)) == len(asked) > 10
        for one in document.questions:
            assert one.answer in document.text
            assert one.name[1:] in document.text


def test_a_document_comes_close_to_the_wanted_length(coder):
    lengths = [coder.count(write(World(seed), coder.count, 400).text) for seed in range(20)]
    assert max(lengths) <= 400
    assert min(lengths) > 350


def test_a_seed_is_a_world(coder):
    texts = [write(World(seed), coder.count, 300).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_names_are_unique_until_forgotten_and_held_out_ones_never_train():
    trained: set[str] = set()
    for seed in "ab":
        world = World(seed)
        drawn = [world.place() for _ in range(7000)]  # of about 7,800 that training may use
        assert len(set(drawn)) == len(drawn)
        trained.update(drawn)
    held_out = World("c", held_out=True)
    assert len({held_out.place() for _ in range(8000)} - trained) > 700


def test_a_batch_holds_whole_questions_and_their_answers(coder):
    world = World("batch")
    for level in LEVELS:
        for _ in range(4):
            batch = make_batch(world, coder, level, 0.0)
            assert (batch.labels == coder.eos).sum() == batch.labels.shape[0] * batch.labels.shape[
                1
            ]
            assert batch.context.shape[1] >= int(batch.lengths.max())


def test_the_shipped_documents_are_what_the_script_writes(tmp_path, coder):
    make_demo(tmp_path)
    shipped = sorted((SHIPPED / "atlas").iterdir())
    assert [path.name for path in shipped] == sorted(path.name for path in tmp_path.iterdir())
    for path in shipped:
        assert path.read_text("utf-8") == (tmp_path / path.name).read_text("utf-8")
    lengths = sorted(coder.count(p.read_text("utf-8")) for p in shipped if p.suffix != ".jsonl")
    assert lengths[0] >= 300
    assert lengths[-2] <= 510
    assert lengths[-1] > 2000


def test_shipped_questions_are_answered_by_their_document():
    lines = (SHIPPED / "atlas" / "questions.jsonl").read_text("utf-8").splitlines()
    for line in lines:
        one = json.loads(line)
        assert one["answer"] in (SHIPPED / "atlas" / one["document"]).read_text("utf-8")
