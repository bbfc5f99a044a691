"""The rules of the house, as tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sac_rag"
FLOORS = [
    {"errors"},
    {
        "config",
        "tokens",
        "rope",
        "layout",
        "prompts",
        "settings",
        "sealed",
        "weights",
        "lora",
        "layer_calls",
        "output_head",
        "attention",
    },
    {"chunking", "anchor_cache", "ladder", "layer_steps"},
    {"codecs", "encoder"},
    {"selection", "backbone", "store", "compiled"},
    {"methods", "generation", "importance"},
    {"adapter"},
    {"handles"},
    {"engine"},
    {"data"},
    {"eval"},
    {"train", "bench"},
    {"analysis"},
    {"server", "distributed", "cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sac_rag."):
            yield node.lineno, node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("sac_rag."):
                    yield node.lineno, name.name.split(".")[1]


def test_imports_point_down():
    climbs = [
        f"{path.name}:{line}: {_room(path)} imports {there}"
        for path in SOURCES
        for line, there in _imports(path)
        if there != _room(path) and FLOOR_OF[there] >= FLOOR_OF[_room(path)]
    ]
    assert not climbs, "\n".join(climbs)


def test_files_and_functions_stay_small():
    too_long = []
    for path in SOURCES:
        text = path.read_text()
        if len(text.splitlines()) > 300:
            too_long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if length > 60:
                    too_long.append(f"{path.name}: {node.name} has {length} lines")
    assert not too_long, "\n".join(too_long)


def test_public_names_say_what_they_are():
    silent = []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(f"{path.name} has no docstring")
        for node in ast.walk(tree):
            public = isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_"
            if public and not ast.get_docstring(node) and node in tree.body:
                silent.append(f"{path.name}: {node.name}")
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize(
    "command", ["import sac_rag; sac_rag.__version__", "import sac_rag.errors"]
)
def test_a_light_import_loads_no_torch(command):
    check = f"{command}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_nothing_is_pickled():
    offenders = []
    for path in SOURCES:
        text = path.read_text()
        if "import pickle" in text or ("torch.load(" in text and "weights_only=True" not in text):
            offenders.append(path.name)
    assert not offenders
