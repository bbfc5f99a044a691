"""The paper's ablations, each by a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sac_rag.engine.loading import load_base
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.recipe_file import read_recipe
from tests.tiny import tiny_adapter
from tests.tiny_classifier import write_classifier
from tests.train.short_runs import SAMPLES

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


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
