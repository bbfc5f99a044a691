"""The notebooks run from top to bottom, offline, and their two forms say the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="the extra 'notebooks' is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra 'notebooks' is not installed")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ["01_quickstart", "02_langchain", "03_llama_index"]
ANSWERS = {
    "01_quickstart": ["1762", "1588", "December", "pink"],
    "02_langchain": ["1762", "paper", "pink"],
    "03_llama_index": ["paper", "pink", "sapphire"],
}
"""What a reader must see, from questions.jsonl of the demo documents."""


def _code(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_two_forms_are_one_notebook(name):
    script = jupytext.read(FOLDER / f"{name}.py")
    paired = jupytext.read(FOLDER / f"{name}.ipynb")
    assert [(cell.cell_type, cell.source) for cell in script.cells] == [
        (cell.cell_type, cell.source) for cell in paired.cells
    ], "run `make notebooks`"
    assert len(_code(script)) <= 12


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_offline_and_answers_right(name, monkeypatch):
    offline = str(Path(__file__).parent / "offline")
    paths = [offline, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = jupytext.read(FOLDER / f"{name}.py")
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for output in outputs
    ).replace("|", "")
    for answer in ANSWERS[name]:
        assert answer in shown
    assert any("image/png" in output.get("data", {}) for output in outputs)
