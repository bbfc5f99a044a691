"""Every shipped recipe loads; a wrong key is answered with the right one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sac_rag.errors import ConfigError, InputFileError
from sac_rag.methods import METHODS
from sac_rag.selection import SELECTOR_NAMES
from sac_rag.train.evaluation import check_evaluation
from sac_rag.train.recipe_file import read_recipe, read_steps

FOLDER = Path(__file__).parents[2] / "train" / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_says_what_it_is(path):
    steps = read_steps(path)
    recipe = steps[0].recipe
    assert recipe.method in METHODS
    assert recipe.compress.selector in SELECTOR_NAMES
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    told = {word: line for line in head for word in ("Run:", "Needs:", "Expect:") if word in line}
    assert f"train/recipes/{path.name}" in told["Run:"]
    assert re.search(r"GPUs? |core", told["Needs:"])
    assert re.search(r"\d h\b|hour|minute", told["Needs:"])
    assert told["Expect:"]
    if recipe.stage == "pretrain":
        assert recipe.data.held_out
    if any(step.stage == "evaluate" for step in steps) or recipe.evaluate.data:
        check_evaluation(recipe)
    if recipe.adapter.startswith("runs/"):
        earlier = FOLDER / f"{Path(recipe.adapter).parent.name}.yaml"
        assert read_recipe(earlier).compress == recipe.compress


def test_there_are_recipes():
    assert len(RECIPES) > 20


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("compress.ratoi=15", r"unknown setting compress\.ratoi; did you mean compress\.ratio"),
        ("stpes=3", "did you mean steps"),
        ("steps=many", "steps should be int, found 'many'"),
        ("steps=0", "each must be 1 or more"),
        ("compress.ratio=511", "leaves no anchor"),
        ("stages=[pretrian]", "unknown stage 'pretrian'; did you mean pretrain"),
        ("stages=[evaluate, pretrain]", "evaluate last"),
        ("stages=[evaluate]", "behind the stage whose adapter it asks"),
        ("pretrain=3", "pretrain should hold settings, found 3"),
        ("finetune.data.trian=3", "did you mean data.train"),
        ("data.order=random", "choose from authors, shuffled, as_read"),
        ("data.held_out=-1", "none may be below 0"),
        ("eval_every=0", "each must be 1 or more"),
        ("betas=[", "not valid YAML"),
        ("report_to=3", "report_to should be a list, found 3"),
        ("pretrain.objectives.continuation=0", "learns nothing"),
        ("precision=fp8", "choose from float32"),
        ("steps", "write key=value"),
        ("steps.more=1", "no settings inside"),
    ],
)
def test_a_wrong_change_names_the_way_out(change, match):
    with pytest.raises(ConfigError, match=match):
        read_steps(FOLDER / "tiny.yaml", [change])


def test_changes_win_over_the_file():
    changes = ["compress.ratio=15", "data.train=a.jsonl", "finetune.steps=3", "steps=7"]
    pretrain, finetune, evaluate = read_steps(FOLDER / "tiny.yaml", changes)
    for step in (pretrain, finetune):
        assert step.recipe.compress.ratio == 15
        assert step.recipe.data.train == ("a.jsonl",)
        assert step.recipe.steps == 7
    assert evaluate.recipe == finetune.recipe


def test_stages_follow_each_other():
    pretrain, finetune, evaluate = read_steps(FOLDER / "tiny.yaml", ["out=/tmp/mine"])
    assert (pretrain.stage, finetune.stage, evaluate.stage) == ("pretrain", "finetune", "evaluate")
    assert pretrain.recipe.out == "/tmp/mine/pretrain"
    assert finetune.recipe.adapter == "/tmp/mine/pretrain/adapter"
    assert finetune.recipe.objectives.continuation == 0
    assert pretrain.recipe.compress == finetune.recipe.compress
    assert read_steps(FOLDER / "tiny.yaml", ["out=/tmp/mine"], stage="finetune") == [finetune]
    assert read_steps(FOLDER / "tiny.yaml", ["out=/tmp/mine"], stage="evaluate") == [evaluate]
    with pytest.raises(ConfigError, match="several stages"):
        read_recipe(FOLDER / "tiny.yaml")


def test_one_stage_of_a_file_of_one(tmp_path):
    path = tmp_path / "mine.yaml"
    settings = {"stage": "finetune", "out": "runs/x", "objectives": {"qa": 1}}
    path.write_text(yaml.safe_dump({**settings, "data": {"train": "a.jsonl"}}))
    [step] = read_steps(path)
    assert step.stage == "finetune"
    assert read_steps(path, stage="evaluate")[0].recipe == step.recipe
    assert read_recipe(path, stage="pretrain").stage == "pretrain"
    with pytest.raises(ConfigError, match="choose from pretrain, finetune"):
        read_steps(path, ["stage=train"])
    path.write_text(path.read_text() + "stages: [finetune]\n")
    with pytest.raises(ConfigError, match="stage"):
        read_steps(path, stage="pretrain")


def test_files_that_are_no_recipes_are_refused(tmp_path):
    with pytest.raises(InputFileError, match="no recipe at"):
        read_recipe(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("stage: [")
    with pytest.raises(InputFileError, match="not valid YAML"):
        read_recipe(broken)
    broken.write_text("just text")
    with pytest.raises(InputFileError, match="should hold settings"):
        read_recipe(broken)
