"""Every shipped recipe loads; a wrong key is answered with the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sac_rag.errors import ConfigError, InputFileError
from sac_rag.methods import METHODS
from sac_rag.selection import SELECTOR_NAMES
from sac_rag.train.recipe import read_recipe

FOLDER = Path(__file__).parents[2] / "train" / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_says_what_it_is(path):
    recipe = read_recipe(path)
    assert recipe.method in METHODS
    assert recipe.compress.selector in SELECTOR_NAMES
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("Run:", "Needs:", "Expect:"):
        assert any(word in line for line in head)
    assert any(f"train/recipes/{path.name}" in line for line in head)
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
        ("stage=train", "choose from pretrain"),
        ("objectives.continuation=0", "learns nothing"),
        ("precision=fp8", "choose from float32"),
        ("steps", "write key=value"),
        ("steps.more=1", "no settings inside"),
    ],
)
def test_a_wrong_change_names_the_way_out(change, match):
    with pytest.raises(ConfigError, match=match):
        read_recipe(FOLDER / "tiny_pretrain.yaml", [change])


def test_changes_win_over_the_file():
    recipe = read_recipe(
        FOLDER / "tiny_pretrain.yaml", ["compress.ratio=15", "data.train=[a.jsonl]"]
    )
    assert recipe.compress.ratio == 15
    assert recipe.data.train == ("a.jsonl",)


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
