"""The README's code runs as written, on the embedded model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sac_rag.engine.loading import EMBEDDED_FOLDER, EMBEDDED_MODEL

PROJECT = Path(__file__).parents[3] / "integrations" / "llama_index"


@pytest.mark.skipif(
    not (EMBEDDED_FOLDER / EMBEDDED_MODEL / "model.safetensors").is_file(),
    reason="the embedded model is not built",
)
def test_the_readme_runs_as_written(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "Ashford" in capsys.readouterr().out
    assert names["query_engine"].query("Which river is Ashford on?").source_nodes
    usage = names["response"].raw["usage"]
    assert usage["original_context_tokens"] > usage["anchor_tokens"] > 0


def test_namespaces_have_no_init():
    for folder in ("llama_index", "llama_index/llms", "llama_index/postprocessor"):
        assert not (PROJECT / folder / "__init__.py").exists()
    for folder in ("llms/sac", "postprocessor/sac"):
        assert (PROJECT / "llama_index" / folder / "py.typed").is_file()
