"""Memory: a peak is seen though it is gone, and the page cache is told apart from the disk."""

from __future__ import annotations

import pytest
import torch

from sac_rag.bench.memory import drop_from_cache, peak_bytes

MIB = 2**20


def test_a_peak_is_seen_after_it_has_gone():
    def work():
        torch.ones(64 * MIB, dtype=torch.uint8)

    found = peak_bytes(work)
    if found is None:
        pytest.skip("this system does not tell a process its peak")
    assert 60 * MIB < found < 200 * MIB
    assert peak_bytes(lambda: None) < 30 * MIB


def test_a_dropped_file_reads_the_same(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)
    assert drop_from_cache([path]) in (True, False, None)
    assert path.read_bytes() == bytes(range(256)) * 4096
