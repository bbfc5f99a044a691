"""An adapter pushed to a hub and loaded by its id is the same adapter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.adapter.local_hub import LocalHub

PUSH_AND_LOAD = """
import sys
from transformers import AutoModelForCausalLM
from sac_rag.adapter import Adapter

base, folder = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained
mine = Adapter.from_pretrained(folder, model=model(base))
for _ in range(2):  # the second time the repository is there already
    mine.push_to_hub("someone/sac-tiny", private=True)
theirs = Adapter.from_pretrained("someone/sac-tiny", model=model(base))
print(mine.fingerprint() == theirs.fingerprint())
"""


@pytest.fixture
def hub():
    with LocalHub() as hub:
        yield hub


def test_pushed_and_loaded_by_id(hub, tiny_folders, tmp_path):
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "hf_local",
        "HF_HUB_DISABLE_XET": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", PUSH_AND_LOAD, *map(str, tiny_folders)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip().endswith("True"), run.stderr
    asked = hub.created[0]
    assert asked.get("visibility") == "private" or asked.get("private") is True
    assert {name for name in hub.repos["someone/sac-tiny"] if name != ".gitattributes"} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "sac_config.json",
        "sac_embeddings.safetensors",
    }
