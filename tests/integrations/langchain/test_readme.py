"""What the README shows runs as written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sac_rag.engine import loading

README = Path(__file__).parents[3] / "integrations" / "langchain" / "README.md"


def test_readme_blocks_run(question_folders, tmp_path, monkeypatch, capsys):
    """On the tiny model in the embedded one's place: answers are noise, the code is the same."""
    base, adapter = question_folders
    nano = tmp_path / loading.EMBEDDED_MODEL
    shutil.copytree(base, nano)
    shutil.copytree(adapter, nano / loading.EMBEDDED_ADAPTER)
    monkeypatch.setattr(loading, "EMBEDDED_FOLDER", tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL))
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})
    assert "Ashford lies on the river Lune." in capsys.readouterr().out
