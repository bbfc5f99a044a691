"""The readers on whatever real data there is: SAC_RAG_DATA names a folder of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sac_rag.data import ReadReport, read_qa, read_texts
from sac_rag.data.rows import SUFFIXES
from sac_rag.errors import DataError

FOLDER = Path(os.environ.get("SAC_RAG_DATA") or "no folder")
FILES = sorted(path for path in FOLDER.rglob("*") if path.name.endswith(SUFFIXES))

pytestmark = [
    pytest.mark.skipif(not FILES, reason="set SAC_RAG_DATA to a folder of data files to run it"),
    pytest.mark.slow,
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_record_is_read_or_named(path):
    report = ReadReport(max_bad=10**9)
    read = read_texts if ".txt" in path.name else read_qa
    ids, refused = [], False
    try:
        ids.extend(record.id for record in read(path, report=report))
    except DataError:
        refused = True  # passages without questions, say: every one is named
    print(f"{path.name}: {len(ids)} records, {len(report.bad)} bad: {report.bad[:2]}")
    assert len(ids) == report.total
    assert refused == bool(report.bad) == (not ids)
