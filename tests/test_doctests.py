"""The examples in docstrings are the specification, and run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = ["layout", "prompts", "chunking"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    outcome = doctest.testmod(import_module(f"sac_rag.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
