"""Run the command line as a user does, on the tiny model."""

from __future__ import annotations

import json
import logging

import pytest
from typer.testing import CliRunner

from sac_rag.cli.main import app


@pytest.fixture(autouse=True)
def _same_loggers():
    """Leave the libraries' loggers as they were."""
    before = logging.getLogger("transformers").level
    yield
    logging.getLogger("transformers").setLevel(before)


@pytest.fixture
def sac_rag():
    """Run ``sac-rag`` with words; gives the result with exit code, stdout and stderr."""

    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture
def sac_rag_json(sac_rag):
    """Run a command with ``--json``: exit code, and stdout parsed whole."""

    def run(*words):
        # eval can write into a file as well
        result = sac_rag(*words, "--json", *(["-"] if words[0] == "eval" else []))
        return result.exit_code, json.loads(result.stdout)

    return run


@pytest.fixture(scope="session")
def tiny(tiny_folders):
    """The options that choose the tiny model."""
    base, adapter = tiny_folders
    return ("--model", base, "--adapter", adapter)


@pytest.fixture
def notes(tmp_path):
    """A folder of three short documents, one of them a record, and a picture."""
    folder = tmp_path / "notes"
    (folder / "deeper").mkdir(parents=True)
    (folder / "town.md").write_text("# Bellford\n\nBellford was founded in 1204.", encoding="utf-8")
    (folder / "deeper" / "river.txt").write_text("The Lune is 80 miles long.", encoding="utf-8")
    (folder / "hill.jsonl").write_text(
        json.dumps({"title": "Hill", "text": "Mount Ost is 900 feet high.", "id": 7}) + "\n\n",
        encoding="utf-8",
    )
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder
