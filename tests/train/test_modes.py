"""Beyond the paper: many ratios in one run, questions beside chunks, documents among others."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sac_rag import Document, SACEngine
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.engine.loading import load_base
from sac_rag.errors import ConfigError
from sac_rag.train.__main__ import main
from sac_rag.train.checkpoints import LEARNED_FILE, last_checkpoint
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.ratios import ratio_of_step
from sac_rag.train.recipe import DataSettings, Objectives, OptimSettings, Recipe
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.run import Samples
from sac_rag.train.samples import Sample
from sac_rag.train.trainer import make_trainer
from tests.tiny import tiny_adapter, tiny_model
from tests.tiny_classifier import write_classifier

RECIPES = Path(__file__).parents[2] / "train" / "recipes"
RATIOS = (5, 15, 51)
DRAW = torch.Generator().manual_seed(0)
SAMPLES = [
    Sample(
        documents=(torch.randint(3, 264, (30 + 17 * index,), generator=DRAW).tolist(),),
        prompt=torch.randint(3, 264, (4 + index,), generator=DRAW).tolist(),
        target=torch.randint(3, 264, (4 + index % 3,), generator=DRAW).tolist(),
    )
    for index in range(8)
]


def recipe_for(out: Path, **changes) -> Recipe:
    settings = {
        "stage": "pretrain",
        "compress": CompressConfig(ratios=RATIOS),
        "objectives": Objectives(continuation=1.0),
        "data": DataSettings(train=("synthetic://text",)),
        "optim": OptimSettings(lr=1e-2, warmup_steps=3),
        "steps": 6,
        "batch": 8,
        "micro_batch": 4,
        "save_every": 3,
        "log_every": 1,
    }
    return Recipe(out=str(out), **{**settings, **changes})


def any_ratio_module() -> TrainingModule:
    adapter = tiny_adapter(tiny_model(), ratios=RATIOS)
    make_trainable(adapter)
    return TrainingModule(adapter, weights={"continuation": 1.0})


def train(recipe: Recipe, *, until: int | None = None) -> list[float]:
    trainer = make_trainer(any_ratio_module(), SAMPLES, recipe)
    if until is not None:
        trainer.args.max_steps = until
    trainer.train(resume_from_checkpoint=last_checkpoint(recipe.out))
    lines = (Path(recipe.out) / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]


def learned(out: Path) -> dict[str, torch.Tensor]:
    return load_file(Path(last_checkpoint(out) or "") / LEARNED_FILE)


# any-ratio


def test_each_ratio_is_drawn_as_often_and_by_seed():
    drawn = [ratio_of_step(RATIOS, seed=1, step=step) for step in range(3000)]
    assert drawn == [ratio_of_step(RATIOS, seed=1, step=step) for step in range(3000)]
    assert drawn != [ratio_of_step(RATIOS, seed=2, step=step) for step in range(3000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())
    assert ratio_of_step((), seed=1, step=0) is None


def test_every_step_has_the_loss_of_its_ratio(tmp_path):
    """With nothing learned and all samples in a step, losses differ by the ratio alone."""
    losses = train(recipe_for(tmp_path, optim=OptimSettings(lr=0.0, warmup_steps=3)))
    module = any_ratio_module()
    with torch.no_grad():
        of_ratio = {ratio: module(SAMPLES, ratio=ratio)["loss"].item() for ratio in RATIOS}
    drawn = [ratio_of_step(RATIOS, seed=12345, step=step) for step in range(6)]
    assert len(set(drawn)) > 1
    assert losses == pytest.approx([of_ratio[ratio] for ratio in drawn], abs=2e-4)
    assert abs(of_ratio[5] - of_ratio[51]) > 1e-2


def test_a_resumed_any_ratio_run_is_the_unbroken_run_bit_for_bit(tmp_path):
    whole = train(recipe_for(tmp_path / "whole"))
    train(recipe_for(tmp_path / "broken"), until=3)
    resumed = train(recipe_for(tmp_path / "broken"))
    assert len(whole) == 6
    assert whole == resumed
    for name, weight in learned(tmp_path / "whole").items():
        assert torch.equal(weight, learned(tmp_path / "broken")[name]), name


def test_micro_batches_of_a_step_share_its_ratio(tmp_path):
    small = train(recipe_for(tmp_path / "small", micro_batch=1))
    large = train(recipe_for(tmp_path / "large", micro_batch=8))
    assert small == pytest.approx(large, abs=1e-3)


@torch.no_grad()
def test_a_batch_at_a_ratio_gives_its_samples_losses():
    method = any_ratio_module().method
    for ratio in RATIOS:
        together = OBJECTIVES["continuation"](
            method, SAMPLES, compress_samples(method, SAMPLES, ratio=ratio)
        )
        for one, sample in zip(together, SAMPLES, strict=True):
            anchors = compress_samples(method, [sample], ratio=ratio)
            [alone] = OBJECTIVES["continuation"](method, [sample], anchors)
            torch.testing.assert_close(one, alone, atol=1e-4, rtol=1e-4)


# query-aware


@torch.no_grad()
def test_a_query_aware_sample_is_compressed_with_its_own_prompt():
    adapter = tiny_adapter(tiny_model(), query_aware=True)
    made = compress_samples(adapter.method, SAMPLES, query_aware=True)
    for cache, sample in zip(made, SAMPLES, strict=True):
        chunk = Chunk(
            token_ids=torch.tensor(sample.documents[0]), question_ids=tuple(sample.prompt)
        )
        alone = adapter.method.compress_chunk(chunk)
        torch.testing.assert_close(cache.keys, alone.keys, atol=1e-4, rtol=1e-4)
    module = TrainingModule(adapter, weights={"qa": 1.0})
    expected = OBJECTIVES["qa"](adapter.method, SAMPLES, made).mean()
    torch.testing.assert_close(module(SAMPLES)["loss"], expected)
    plain = TrainingModule(tiny_adapter(tiny_model()), weights={"qa": 1.0})
    assert abs(plain(SAMPLES)["loss"] - expected) > 1e-3


def test_query_aware_without_questions_is_refused():
    with pytest.raises(ConfigError, match=r"objectives\.qa has no weight: pretrain without"):
        read_recipe(RECIPES / "tiny.yaml", ["query_aware=true"], stage="pretrain")


# the whole road


@pytest.fixture
def changes(tiny_folders, tmp_path, monkeypatch):
    """Settings that put a tiny recipe on the tiny random model."""
    pytest.importorskip("datasets", reason="the extra 'train' is not installed")
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    return [
        f"model={tiny_folders[0]}",
        "steps=3",
        "save_every=3",
        "data.limit=16",
        "optim.lr=0.01",
    ]


def run(recipe: str, out: Path, *words: str) -> int:
    return main(["--config", str(RECIPES / f"{recipe}.yaml"), f"out={out}", *words])


def run_tiny(stage: str, out: Path, *words: str) -> int:
    return main([stage, "--config", str(RECIPES / "tiny.yaml"), f"{stage}.out={out}", *words])


def test_both_stages_at_many_ratios_make_one_adapter_for_all(changes, tiny_folders, tmp_path):
    words = [*changes, "compress.ratios=[5, 15, 51]"]
    assert run_tiny("pretrain", tmp_path / "one", *words) == 0
    start = f"adapter={tmp_path / 'one' / 'adapter'}"
    assert run_tiny("finetune", tmp_path / "two", *words, start) == 0
    adapter = tmp_path / "two" / "adapter"
    with SACEngine.from_pretrained(tiny_folders[0], adapter=adapter, ratio=15) as engine:
        documents = ["a text about someone " * 9, Document(text="and another " * 9, ratio=51)]
        usage = engine.answer("Who?", documents, max_new_tokens=3).usage
        assert usage.anchors == sum(engine.count_anchors(one) for one in documents)
        assert engine.ratios == RATIOS


def test_a_plain_adapter_learns_to_read_questions_and_does_not_forget_it(
    changes, tiny_folders, tmp_path, capsys
):
    run_tiny("pretrain", tmp_path / "one", *changes)
    start = f"adapter={tmp_path / 'one' / 'adapter'}"
    assert run_tiny("finetune", tmp_path / "two", *changes, start, "query_aware=true") == 0
    adapter = tmp_path / "two" / "adapter"
    with SACEngine.from_pretrained(tiny_folders[0], adapter=adapter) as engine:
        assert engine.query_aware
        assert engine.answer("Who?", ["a text about someone"], max_new_tokens=3).usage.anchors > 1
    assert run_tiny("finetune", tmp_path / "three", *changes, f"adapter={adapter}") == 2
    assert "was trained with query_aware=true and the recipe is not" in capsys.readouterr().err


# composition


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


def test_the_composed_recipe_trains_on_records_of_several_documents(changes, tmp_path):
    recipe = read_recipe(RECIPES / "sac_5x_composed.yaml")
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
    words = [*changes, f"data.train=[{path}]", "adapter=''", "precision=float32", "batch=4"]
    words += ["micro_batch=2", "lora.rank=4", "log_every=1"]
    read = {}
    for name, more in (("composed", []), ("alone", ["data.distractors=0"])):
        assert run("sac_5x_composed", tmp_path / name, *words, *more) == 0
        lines = (tmp_path / name / "history.jsonl").read_text().splitlines()
        read[name] = json.loads(lines[-1])["tokens_seen"]
        assert sum('"loss"' in line for line in lines) == 3
    # twelve samples, each with three texts more: BOS, "### Context:", and a sentence
    assert read["composed"] - read["alone"] > 12 * 3 * (1 + 13 + 16)


# ablations


@pytest.mark.parametrize(
    "path", sorted(RECIPES.glob("ablation_*_pretrain.yaml")), ids=lambda path: path.stem
)
def test_every_ablation_is_reached_by_its_recipe(path, tiny_folders, tmp_path):
    recipe = read_recipe(path)
    names = ("ratio", "selector", "scorer", "attention", "anchor_embedding")
    compress = {name: getattr(recipe.compress, name) for name in names}
    if recipe.compress.scorer == "llmlingua2":
        compress["scorer_model"] = str(write_classifier(tmp_path / "classifier"))
    model, tokens = load_base(tiny_folders[0], dtype="float32")
    adapter = tiny_adapter(model, tokens=tokens, **compress)
    make_trainable(adapter)
    weights = {"continuation": recipe.objectives.continuation}
    weights |= {"autoencoding": recipe.objectives.autoencoding}
    made = TrainingModule(adapter, weights=weights)(SAMPLES[:3])
    made["loss"].backward()
    assert torch.isfinite(made["loss"])
    rows = adapter.method.anchor_embeddings
    expected = {"slot": 102, "shared": 1, "none": 0}[recipe.compress.anchor_embedding]
    assert rows.shape[0] == expected
    assert expected == 0 or rows.grad.abs().sum() > 0
    assert set(made) - {"loss"} == {name for name, weight in weights.items() if weight}


def test_the_recipes_name_every_ablation_of_the_paper():
    found = [read_recipe(path) for path in RECIPES.glob("ablation_*.yaml")]
    assert {one.compress.selector for one in found} >= {"uniform", "random", "chunk-last"}
    assert {one.compress.scorer for one in found} >= {"llmlingua2", "surprisal"}
    assert {one.compress.attention for one in found} == {"bidirectional", "causal"}
    assert {one.compress.anchor_embedding for one in found} == {"slot", "shared", "none"}
    learned = {(one.objectives.continuation > 0, one.objectives.autoencoding > 0) for one in found}
    assert {(True, False), (True, True), (False, True)} <= learned
