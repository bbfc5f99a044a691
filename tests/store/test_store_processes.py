"""Many processes share a folder; any of them may be killed at any moment."""

from __future__ import annotations

import random
import signal
import time
from multiprocessing import get_context
from pathlib import Path

from sac_rag.store import DirectoryByteStore

SPAWN = get_context("spawn")
KEYS = [f"key {number}" for number in range(60)]
MAX_BYTES = 60_000


def value_of(key: str, seed: int) -> bytes:
    """Return a value that tells which key it belongs to and whether it is whole."""
    body = random.Random(seed).randbytes(2_000 + seed % 3_000)
    return key.encode() + b"|" + len(body).to_bytes(4, "little") + body


def is_whole(key: str, value: bytes) -> bool:
    head = key.encode() + b"|"
    length = int.from_bytes(value[len(head) : len(head) + 4], "little")
    return value.startswith(head) and len(value) == len(head) + 4 + length


def write_for_ever(path: str) -> None:
    store = DirectoryByteStore(path)
    for seed in range(10**9):
        key = KEYS[seed % len(KEYS)]
        store.mset([(key, value_of(key, seed))])


def work(path: str, worker: int) -> None:
    """Write, read, delete and list at random; whatever is read must be whole."""
    dice = random.Random(worker)
    store = DirectoryByteStore(path, max_bytes=MAX_BYTES)
    for step in range(100):
        key = dice.choice(KEYS)
        action = dice.choice(["write", "write", "read", "read", "delete", "list"])
        if action == "write":
            store.mset([(key, value_of(key, 1000 * worker + step))])
        elif action == "read":
            [value] = store.mget([key])
            assert value is None or is_whole(key, value)
        elif action == "delete":
            store.mdelete([key])
        else:
            assert set(store.yield_keys()) <= set(KEYS)


def put_secret(path: str, gate, answers) -> None:
    gate.wait(60)
    answers.put(DirectoryByteStore(path).secret())


def test_writers_and_readers_at_once_see_whole_values_only(tmp_path: Path) -> None:
    workers = [SPAWN.Process(target=work, args=(str(tmp_path), n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    store = DirectoryByteStore(tmp_path)
    assert MAX_BYTES // 2 < store.nbytes <= MAX_BYTES + len(workers) * MAX_BYTES // 16
    for key in list(store.yield_keys()):
        [value] = store.mget([key])
        assert value is not None
        assert is_whole(key, value)
    assert not any((tmp_path / "tmp").iterdir())


def test_a_kill_leaves_whole_entries_only(tmp_path: Path) -> None:
    store = DirectoryByteStore(tmp_path)
    for kill in range(3):
        writer = SPAWN.Process(target=write_for_ever, args=(str(tmp_path),))
        store.mdelete(KEYS)
        writer.start()
        deadline = time.monotonic() + 60
        while len(list(store.yield_keys())) < len(KEYS) and time.monotonic() < deadline:
            time.sleep(0.005 * (kill + 1))
        writer.kill()
        writer.join(60)
        assert writer.exitcode == -signal.SIGKILL
        values = store.mget(KEYS)
        assert all(value and is_whole(key, value) for key, value in zip(KEYS, values, strict=True))


def test_racing_processes_agree_on_one_store_and_one_secret(tmp_path: Path) -> None:
    gate, answers = SPAWN.Barrier(4), SPAWN.Queue()
    target = str(tmp_path / "new")
    racers = [SPAWN.Process(target=put_secret, args=(target, gate, answers)) for _ in range(4)]
    for racer in racers:
        racer.start()
    found = {answers.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join(60)
    assert found == {DirectoryByteStore(target).secret()}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "format.json",
        "handle.key",
    ]
