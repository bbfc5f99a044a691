"""Beyond the paper: many ratios in one run, questions beside chunks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from sac_rag import Document, SACEngine
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.train.__main__ import main
from sac_rag.train.module import TrainingModule
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.ratios import ratio_of_step
from sac_rag.train.recipe import OptimSettings, Recipe
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.samples import Sample
from tests.tiny import tiny_adapter, tiny_model
from tests.train.short_runs import learned, module_for, recipe_for, train

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


def several(out: Path, **changes) -> Recipe:
    """Give a short run at several ratios, whose steps hold all samples."""
    compress = CompressConfig(ratios=RATIOS)
    return recipe_for(out, **{"compress": compress, "batch": 8, "micro_batch": 4, **changes})


# any-ratio


def test_each_ratio_is_drawn_as_often_and_by_seed():
    drawn = [ratio_of_step(RATIOS, seed=1, step=step) for step in range(3000)]
    assert drawn == [ratio_of_step(RATIOS, seed=1, step=step) for step in range(3000)]
    assert drawn != [ratio_of_step(RATIOS, seed=2, step=step) for step in range(3000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())
    assert ratio_of_step((), seed=1, step=0) is None


def test_every_step_has_the_loss_of_its_ratio(tmp_path):
    """With nothing learned and all samples in a step, losses differ by the ratio alone."""
    losses = train(several(tmp_path, optim=OptimSettings(lr=0.0, warmup_steps=3)), SAMPLES)
    module = module_for(RATIOS)
    with torch.no_grad():
        of_ratio = {ratio: module(SAMPLES, ratio=ratio)["loss"].item() for ratio in RATIOS}
    drawn = [ratio_of_step(RATIOS, seed=12345, step=step) for step in range(6)]
    assert len(set(drawn)) > 1
    assert losses == pytest.approx([of_ratio[ratio] for ratio in drawn], abs=2e-4)
    assert abs(of_ratio[5] - of_ratio[51]) > 1e-2


def test_a_resumed_any_ratio_run_is_the_unbroken_run_bit_for_bit(tmp_path):
    whole = train(several(tmp_path / "whole"), SAMPLES)
    train(several(tmp_path / "broken"), SAMPLES, until=3)
    resumed = train(several(tmp_path / "broken"), SAMPLES)
    assert len(whole) == 6
    assert whole == resumed
    for name, weight in learned(tmp_path / "whole").items():
        assert torch.equal(weight, learned(tmp_path / "broken")[name]), name


def test_micro_batches_of_a_step_share_its_ratio(tmp_path):
    small = train(several(tmp_path / "small", micro_batch=1), SAMPLES)
    large = train(several(tmp_path / "large", micro_batch=8), SAMPLES)
    assert small == pytest.approx(large, abs=1e-3)


@torch.no_grad()
def test_a_batch_at_a_ratio_gives_its_samples_losses():
    method = module_for(RATIOS).method
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
