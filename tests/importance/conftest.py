"""A classifier as a user has it: a folder."""

from __future__ import annotations

import pytest

from sac_rag.importance import KeepClassifier
from tests.tiny_classifier import write_classifier


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory):
    """Folder of a tiny classifier; the package ``llmlingua`` knows XLM-R by its name."""
    return write_classifier(tmp_path_factory.mktemp("classifier") / "xlm-roberta-large-tiny")


@pytest.fixture(scope="session")
def classifier(classifier_folder):
    """The classifier, loaded."""
    return KeepClassifier.from_pretrained(classifier_folder)
