"""A tiny subject, and settings that take seconds."""

from __future__ import annotations

import pytest

from sac_rag.bench.clock import Pace
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject, number_tokens, number_writer
from sac_rag.engine.loading import Loaded
from tests.tiny import tiny_adapter, tiny_config, tiny_model


@pytest.fixture(scope="session")
def subject():
    """A tiny random model whose text is numbers, with a random adapter."""
    config = tiny_config()
    adapter = tiny_adapter(tiny_model(config))
    return Subject(
        name="tiny",
        loaded=Loaded(name="tiny", adapter=adapter, tokens=number_tokens(config.vocab_size)),
        write=number_writer(config.vocab_size),
        trained=False,
        note="random",
    )


@pytest.fixture(scope="session")
def small():
    """Settings of one quick round."""
    return Settings(
        contexts=(60, 120),
        document_tokens=60,
        question_tokens=10,
        new_tokens=4,
        readers=(1, 3),
        processes=(2,),
        operations=8,
        documents=(1, 2),
        entries=(3, 9),
        batches=(1, 2),
        pace=Pace(repeats=2, warm_up=1, seconds=30.0),
    )
