"""Beyond the paper: a sample's documents are joined among others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from sac_rag.train.__main__ import main
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.run import Samples

COMPOSED = Path(__file__).parents[2] / "train" / "recipes" / "sac_5x_composed.yaml"


def qa_row(*documents: int) -> dict[str, list]:
    return {"context_ids": [[one] * 3 for one in documents], "question_ids": [1], "answer_ids": [2]}


def test_records_of_several_documents_are_joined_among_others():
    rows = [qa_row(3 * index, 3 * index + 1, 3 * index + 2) for index in range(12)]
    made = Samples(rows, order=range(12), distractors=2, seed=0)
    places, others = Counter(), set()
    for index in range(12):
        own = [[3 * index + part] * 3 for part in range(3)]
        documents = list(made[index].documents)
        assert len(documents) == 5
        assert len({document[0] for document in documents}) == 5
        assert all(one in documents for one in own)
        assert made[index] == made[index]
        places.update(documents.index(one) for one in own)
        others |= {document[0] % 3 for document in documents if document not in own}
    assert set(places) == set(range(5))  # no place tells what matters
    assert others == {0, 1, 2}  # any document of another record, not its first alone


def test_a_text_that_questions_share_is_no_distractor_of_its_own():
    rows = [qa_row(index // 4) for index in range(20)]  # four questions about each text
    made = Samples(rows, order=range(20), distractors=3, seed=0)
    for index in range(20):
        texts = [document[0] for document in made[index].documents]
        assert len(texts) == len(set(texts)) == 4
        assert index // 4 in texts
    few = Samples(rows[:8], order=range(8), distractors=3, seed=0)
    assert all(sorted(one[0] for one in few[index].documents) == [0, 1] for index in range(8))


def test_without_distractors_documents_keep_the_order_of_the_data():
    made = Samples([qa_row(7, 8, 9)], order=range(1), distractors=0, seed=0)
    assert [document[0] for document in made[0].documents] == [7, 8, 9]


def test_distractors_are_joined_and_repeatable():
    rows = [
        {"context_ids": [[index] * 3], "question_ids": [1], "answer_ids": [2]} for index in range(9)
    ]
    make = Samples(rows, order=range(9), distractors=3, seed=0)
    for index in range(9):
        sample = make[index]
        assert len(sample.documents) == 4
        assert [index] * 3 in sample.documents
        assert len({document[0] for document in sample.documents}) == 4
        assert sample == make[index]
    assert {tuple(make[index].documents).index([index] * 3) for index in range(9)} != {0}


def test_the_composed_recipe_trains_on_records_of_several_documents(
    tiny_folders, tmp_path, monkeypatch
):
    pytest.importorskip("datasets", reason="the extra 'train' is not installed")
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    recipe = read_recipe(COMPOSED)
    assert recipe.data.distractors == 3
    path = tmp_path / "several.jsonl"
    lines = [
        {
            "documents": [{"text": f"Mill {n} has {n} wheels."}, {"text": f"Inn {n} has a roof."}],
            "question": f"How many wheels has mill {n}?",
            "answers": [str(n)],
        }
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [f"model={tiny_folders[0]}", "steps=3", "save_every=3", "data.limit=16"]
    words += ["optim.lr=0.01", f"data.train=[{path}]", "adapter=''", "precision=float32", "batch=4"]
    words += ["micro_batch=2", "lora.rank=4", "log_every=1"]
    read = {}
    for name, more in (("composed", []), ("alone", ["data.distractors=0"])):
        asked = ["--config", str(COMPOSED), f"out={tmp_path / name}", *words, *more]
        assert main(asked) == 0
        lines = (tmp_path / name / "history.jsonl").read_text().splitlines()
        read[name] = json.loads(lines[-1])["tokens_seen"]
        assert sum('"loss"' in line for line in lines) == 3
    # twelve samples, each with three texts more: BOS, "### Context:", and a sentence
    assert read["composed"] - read["alone"] > 12 * 3 * (1 + 13 + 16)
