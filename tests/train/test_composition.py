"""Beyond the paper: a sample's documents are joined among others."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sac_rag.anchor_cache import join
from sac_rag.errors import ConfigError
from sac_rag.train.__main__ import main
from sac_rag.train.objectives import compress_samples, continuation
from sac_rag.train.recipe import DataSettings
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.run import Samples
from sac_rag.train.samples import Sample
from tests.tiny import tiny_adapter, tiny_model

COMPOSED = Path(__file__).parents[2] / "train" / "recipes" / "sac_5x_composed.yaml"


def qa_row(*documents: int) -> dict[str, list]:
    return {"context_ids": [[one] * 3 for one in documents], "question_ids": [1], "answer_ids": [2]}


def samples_of(rows, *, window=2048, seed=0, **settings) -> Samples:
    data = DataSettings(train=("-",), order_seed=seed, **settings)
    return Samples(rows, order=range(len(rows)), data=data, window=window)


def test_records_of_several_documents_are_joined_among_others():
    rows = [qa_row(3 * index, 3 * index + 1, 3 * index + 2) for index in range(12)]
    made = samples_of(rows, distractors=2)
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
    made = samples_of(rows, distractors=3)
    for index in range(20):
        texts = [document[0] for document in made[index].documents]
        assert len(texts) == len(set(texts)) == 4
        assert index // 4 in texts
    few = samples_of(rows[:8], distractors=3)
    assert all(sorted(one[0] for one in few[index].documents) == [0, 1] for index in range(8))


def test_without_distractors_documents_keep_the_order_of_the_data():
    made = samples_of([qa_row(7, 8, 9)])
    assert [document[0] for document in made[0].documents] == [7, 8, 9]


def test_distractors_are_joined_and_repeatable():
    rows = [
        {"context_ids": [[index] * 3], "question_ids": [1], "answer_ids": [2]} for index in range(9)
    ]
    make = samples_of(rows, distractors=3)
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
    assert (recipe.data.distractors, recipe.data.far) == (3, 0.3)
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


def test_a_share_of_the_samples_is_asked_from_afar_within_the_window():
    rows = [qa_row(index) for index in range(400)]
    gaps = [one.gap for one in samples_of(rows, far=0.25, farthest=50)]
    assert 70 <= sum(gap > 0 for gap in gaps) <= 130
    assert {min(gaps), max(gaps)} == {0, 50}
    # five tokens, the task token, and a sink that an adapter may have
    near = [one.gap for one in samples_of(rows, far=1.0, farthest=50, window=17)]
    assert set(near) == set(range(1, 11))
    assert [one.gap for one in samples_of(rows, far=1.0, farthest=50, window=7)] == [0] * 400
    # the documents are those of the same run without
    beside = samples_of(rows, distractors=2), samples_of(rows, distractors=2, far=1.0)
    assert [one.documents for one in beside[0]] == [one.documents for one in beside[1]]


@torch.no_grad()
def test_a_sample_from_afar_learns_what_a_question_behind_other_texts_would_meet():
    method = tiny_adapter(tiny_model()).method
    documents = ([0, 7, 8, 9, 10], [0, 3, 4])
    near = Sample(documents=documents, prompt=[5, 6], target=[11, 2])
    far = replace(near, gap=40)
    [apart] = compress_samples(method, [far])
    # as if a text of 40 tokens stood behind the documents, of which nothing is left
    alone = [compress_samples(method, [replace(near, documents=(one,))])[0] for one in documents]
    beside = join([alone[0], replace(alone[1], span=3 + 40)], inv_freq=method.backbone.inv_freq)
    torch.testing.assert_close(apart.keys, beside.keys)
    from_afar = continuation(method, [far], [apart])
    torch.testing.assert_close(from_afar, continuation(method, [near], [beside]))
    from_near = continuation(method, [near], compress_samples(method, [near]))
    assert (from_afar - from_near).abs() > 1e-3


@pytest.mark.parametrize("settings", [{"far": -0.1}, {"far": 30}, {"farthest": 0}])
def test_shares_and_positions_that_cannot_be_are_refused(settings):
    with pytest.raises(ConfigError, match=r"data.far=.* data.farthest="):
        DataSettings(train=("-",), **settings)
