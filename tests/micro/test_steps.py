"""The queue names steps that exist; steps are sound scripts and call what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[2] / "train"
SCRIPTS = sorted((TRAIN / "gpu").glob("*.sh"))
TEXTS = [*SCRIPTS, TRAIN / "GPU_QUEUE.md", TRAIN / "micro" / "README.md"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_step_is_sound_bash(path):
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_what_is_named_is_there(path):
    named = set(
        re.findall(r"train/(?:gpu|micro|recipes)/[\w./]+\.(?:py|sh|yaml)", path.read_text())
    )
    assert named or path.name == "common.sh"
    for one in named:
        assert (TRAIN.parent / one).is_file(), one


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_options_that_a_step_gives_are_known_to_the_script(path):
    """An option that was renamed must not be found out on a machine that costs by the minute."""
    joined = path.read_text().replace("\\\n", " ")
    for script, rest in re.findall(r"train/micro/(\w+\.py)([^\n]*)", joined):
        source = (TRAIN / "micro" / script).read_text()
        if script.startswith("train_"):
            source += (TRAIN / "micro" / "train_language.py").read_text()
        for option in re.findall(r"(?<=[\s{+])--[a-z][\w-]+", rest):
            assert f'"{option}"' in source, (script, option)


def test_no_other_training_folder_has_a_script_of_the_same_name():
    """They import each other as neighbours: two of one name in one process would be mixed up."""
    own = {path.stem for path in (TRAIN / "micro").glob("*.py")}
    others = [path for path in TRAIN.glob("*/*.py") if path.parent.name != "micro"]
    assert [str(path) for path in others if path.stem in own] == []
