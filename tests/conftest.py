"""Fixtures that every room's tests share."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread everywhere, worker threads and child processes included: tiny tensors gain nothing from
# a second, and laws that compare bits hold only if both roads add up in the same order.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

from sac_rag import SACEngine
from tests.tiny import write_tiny

# no time is asserted: a busy machine may be slow
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    """Folders of a tiny base model and its adapter at ratio 5."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def any_ratio_folders(tmp_path_factory):
    """The same base model, and one adapter for the ratios 5, 15 and 51."""
    return write_tiny(tmp_path_factory.mktemp("any"), ratios=(5, 15, 51))


@pytest.fixture(scope="session")
def query_aware_folders(tmp_path_factory):
    """The same base model, and an adapter that reads the question with each chunk."""
    return write_tiny(tmp_path_factory.mktemp("aware"), query_aware=True)


@pytest.fixture(scope="session")
def shared_engine(tiny_folders):
    """One engine on the tiny model for tests that do not look at its store."""
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


@pytest.fixture
def engine(tiny_folders):
    """A fresh engine on the tiny model, with an empty store in memory."""
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


@pytest.fixture
def endless_engine(engine):
    """An engine whose answers never end by themselves, for tests of stopping."""
    engine.tokens.eos_ids[:] = [263]  # a row of the table that no text or answer uses
    return engine
