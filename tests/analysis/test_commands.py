"""The command writes arrays, numbers and a figure; what is missing is told in one line."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import sac_rag.analysis
from sac_rag.analysis.__main__ import main
from sac_rag.analysis.draw import draw_gradients, write_figure
from sac_rag.analysis.gradients import GradientCosines

TINY = str(Path(__file__).parents[2] / "train" / "recipes" / "tiny.yaml")
ROOM = Path(sac_rag.analysis.__file__).parent


@pytest.fixture
def run(tiny_folders, texts, tmp_path):
    """Run an analysis on the tiny model, with two names for its adapter."""
    base, adapter = tiny_folders

    def command(name, *words):
        asked = [name, "--model", base, "--data", texts, "--out", tmp_path / "out", *words]
        named = ["--adapter", f"one={adapter}", "--adapter", f"two={adapter}"]
        return main([str(word) for word in [*asked, *named]])

    return command


@pytest.mark.parametrize(
    ("name", "array"),
    [("tsne", "points"), ("attention", "weights"), ("perplexity", "compressed")],
)
def test_a_command_writes_arrays_numbers_and_a_figure(run, tmp_path, name, array):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    layers = ("--layers", 1) if name == "tsne" else ()
    assert run(name, "--max-tokens", 500, *layers) == 0
    told = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert set(told) == {"one", "two"}
    with np.load(tmp_path / "out" / f"{name}.npz") as arrays:
        assert np.array_equal(arrays[f"one.{array}"], arrays[f"two.{array}"])
    assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_gradients_are_drawn_and_not_a_number_is_null(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = GradientCosines(
        steps=np.arange(3),
        cosine=np.array([1.0, 0.5, np.nan]),
        by_layer=np.zeros((3, 2)),
        norms=np.ones((3, 2)),
    )
    write_figure(draw_gradients({"run": found}), tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 1000
    from sac_rag.analysis.saving import save

    save({"run": found}, tmp_path / "run")
    assert json.loads((tmp_path / "run.json").read_text())["run"]["last"]["cosine"] is None


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["gradients"], "give --config"),
        (["gradients", "--run", "./nowhere"], "measured no gradients"),
        (["gradients", "--config", TINY], "say which one"),
        (["gradients", "fsdp=true", "--config", TINY, "--stage", "pretrain"], "fsdp=false"),
        (["tsne", "--data", "./none.jsonl"], "there is no file"),
    ],
)
def test_what_cannot_be_done_is_one_line(capsys, tmp_path, words, match):
    assert main([*words, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert match in told
    assert len(told.strip().splitlines()) == 1


def test_texts_out_of_bounds_are_counted(run, capsys):
    assert run("perplexity", "--min-tokens", 2000, "--max-tokens", 2001) == 2
    assert "2 too short" in capsys.readouterr().err


def test_one_file_draws():
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [one.name for one in node.names] + [getattr(node, "module", "") or ""]
                assert path.name == "draw.py" or not any("matplotlib" in name for name in names)
