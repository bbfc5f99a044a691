"""The queue names steps that exist; steps are sound scripts and call what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sac_rag.cli.main import app

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
    assert named or path.name in ("common.sh", "step_5_speed.sh")
    for one in named:
        assert (TRAIN.parent / one).is_file(), one


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_options_that_a_step_gives_are_known_to_the_script(path):
    """An option that was renamed must not be found out on a machine that costs by the minute."""
    joined = path.read_text().replace("\\\n", " ")
    called = re.findall(r"train/micro/(\w+\.py)([^\n]*)", joined)
    assert called or path.name == "step_5_speed.sh"
    for script, rest in called:
        source = (TRAIN / "micro" / script).read_text()
        if script.startswith("train_"):
            source += (TRAIN / "micro" / "train_language.py").read_text()
        for option in re.findall(r"(?<=[\s{+])--[a-z][\w-]+", rest):
            assert f'"{option}"' in source, (script, option)


def test_options_that_the_speed_step_gives_are_known_to_the_bench():
    given = set(re.findall(r"(?<=[\s(])--[a-z]+", (TRAIN / "gpu" / "step_5_speed.sh").read_text()))
    assert {"--shape", "--contexts", "--batches", "--compiled", "--json", "--markdown"} <= given
    bench = typer.main.get_command(app).commands["bench"]
    assert given <= {option for one in bench.params for option in one.opts}


def test_steps_that_ask_for_tf32_get_it():
    """A variable that PyTorch does not read would cost an hour of card without a word."""
    asking = [path for path in SCRIPTS if "TF32" in path.read_text()]
    assert {path.name for path in asking} == {"step_3_table.sh", "step_4_long_and_many.sh"}
    show = "import torch; print(torch.get_float32_matmul_precision())"
    for path in asking:
        (line,) = re.findall(r"^export (\w*TF32\w*=1)$", path.read_text(), re.MULTILINE)
        command = ["env", line, sys.executable, "-c", show]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.strip() == "high", line


def test_no_other_training_folder_has_a_script_of_the_same_name():
    """They import each other as neighbours: two of one name in one process would be mixed up."""
    own = {path.stem for path in (TRAIN / "micro").glob("*.py")}
    others = [path for path in TRAIN.glob("*/*.py") if path.parent.name != "micro"]
    assert [str(path) for path in others if path.stem in own] == []
