"""Addresses of stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from sac_rag.errors import ConfigError
from sac_rag.store import AnchorStore, DirectoryByteStore, MemoryByteStore, open_store


@pytest.mark.parametrize("url", [None, "memory://"])
def test_memory(url: str | None) -> None:
    store = open_store(url, namespace="n")
    assert isinstance(store.backend, MemoryByteStore)
    assert store.namespace == "n"


def test_every_way_to_name_a_folder_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "a b"
    spaced = str(folder).replace(" ", "%20")
    for url in (
        folder,
        str(folder),
        "a b",
        "~/a b",
        f"file://{spaced}",
        f"file://localhost{spaced}",
    ):
        backend = open_store(url).backend
        assert isinstance(backend, DirectoryByteStore)
        assert backend.path.resolve() == folder.resolve()


@pytest.mark.parametrize("url", ["redis://host", "s3://bucket/x", "gs://b", "mmeory://"])
def test_other_kinds_are_refused_and_the_known_ones_named(url: str) -> None:
    with pytest.raises(ConfigError, match=r"this version has memory://, file:// and plain paths"):
        open_store(url)


@pytest.mark.parametrize("url", ["", "  ", "memory://name", "file://relative", "file://host/path"])
def test_addresses_that_lead_nowhere_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="give"):
        open_store(url)


def test_an_open_store_is_itself() -> None:
    store = open_store("memory://", namespace="tenant")
    assert open_store(store) is store
    assert open_store(store, namespace="tenant") is store
    with pytest.raises(ConfigError, match="is open already"):
        open_store(store, namespace="other")
    with pytest.raises(ConfigError, match="is open already"):
        open_store(store, max_bytes=5)
    assert isinstance(store, AnchorStore)
