"""What the README shows is what runs: every Python block, as written, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
EXPECTED = [["pink | pink"], ["1762", "harholm.md"], ["paper", "galgarth.md"]]
"""What a reader must see of each block."""


def test_every_block_is_expected():
    assert len(BLOCKS) == len(EXPECTED)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs_as_written(number, tmp_path):
    if "langchain" in BLOCKS[number]:
        pytest.importorskip("langchain_classic")
    if "llama_index" in BLOCKS[number]:
        pytest.importorskip("llama_index.core")
    script = tmp_path / "block.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    for text in EXPECTED[number]:
        assert text in done.stdout


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_every_make_target_and_command_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
    commands = set(re.findall(r"^sac-rag ([\w-]+)", README, flags=re.MULTILINE))
    done = subprocess.run(
        [sys.executable, "-c", "from sac_rag.cli.main import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    shown = done.stdout
    assert commands
    for command in commands:
        assert command in shown
