"""What the README of the paper's tables names is there, and its commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import embedded_table
import pytest
from typer.testing import CliRunner

from sac_rag.analysis.commands import COMMANDS
from sac_rag.cli.main import app
from sac_rag.train.recipe_file import read_steps

TRAIN = Path(__file__).parents[2] / "train"
TEXT = (TRAIN / "reproduce" / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
LINES = [shlex.split(line, comments=True) for line in BLOCKS.splitlines() if line]
NAMES = sorted(set(re.findall(r"`((?:sac|epl|icae|500x|ablation)_\w+)`", TEXT)))


def recipes_of(words: list[str]) -> list[str]:
    """Put every row's name into a command of all rows."""
    [at] = [place for place, word in enumerate(words) if word == "--config"]
    return [words[at + 1].replace("NAME", name) for name in NAMES]


@pytest.mark.parametrize("words", [line for line in LINES if "sac_rag.train" in line], ids=" ".join)
def test_every_row_has_the_recipes_that_the_commands_read(words):
    changes = [word for word in words if "=" in word and not word.startswith("-")]
    stage = "evaluate" if "evaluate" in words else ""
    assert len(NAMES) > 12
    for path in recipes_of(words):
        assert [step.stage for step in read_steps(TRAIN.parent / path, changes, stage=stage)]


def test_a_baseline_at_another_ratio_is_a_change_of_its_recipe():
    for name in ("epl_15x", "500x_15x", "icae_15x"):
        changes = ["compress.ratio=5", "out=runs/other"]
        [step] = read_steps(TRAIN / "recipes" / f"{name}_pretrain.yaml", changes)
        assert step.recipe.compress.served == (5,)


def test_commands_of_the_embedded_table_are_understood():
    found = [line for line in LINES if "train/reproduce/embedded_table.py" in line]
    assert len(found) == 3
    for _, script, *words in found:
        assert (TRAIN.parent / script).is_file()
        embedded_table.arguments().parse_args(words)


def test_other_commands_that_it_names_exist():
    commands = re.findall(r"`sac-rag (\w+)([^`]*)`", TEXT)
    scripts = re.findall(r"`(\w+\.py)`", TEXT)
    assert commands
    assert scripts
    for command, options in commands:
        told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        assert all(one in told for one in re.findall(r"--[a-z-]+", options)), command
    for script in scripts:
        assert (TRAIN / "reproduce" / script).is_file()
    [[*named]] = re.findall(r"`python -m sac_rag.analysis`, `(\w+)`, `(\w+)` or `(\w+)`", TEXT)
    assert set(named) <= set(COMMANDS)
