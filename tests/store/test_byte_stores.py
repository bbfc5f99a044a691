"""Every place that keeps bytes behaves as one dict would, within its bound."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.errors import ConfigError, StoreWriteError
from sac_rag.store import ByteStore, DirectoryByteStore, MemoryByteStore

KEYS = st.one_of(
    st.sampled_from(["a", "A", "b/c", "b\\c", "", ".", "..", "../up", "x" * 500, "é" * 90, "a b"]),
    st.text(max_size=8),
    st.text(st.characters(), min_size=1, max_size=3),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete"]), KEYS, st.binary(max_size=90)), max_size=12
)


@pytest.mark.parametrize("kind", [MemoryByteStore, DirectoryByteStore])
@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_any_history_leaves_what_a_dict_holds(kind: type, steps: list) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store: ByteStore = MemoryByteStore() if kind is MemoryByteStore else kind(folder)
        plain: dict[str, bytes] = {}
        for step, key, value in steps:
            if step == "set":
                store.mset([(key, value)])
                plain[key] = value
            else:
                store.mdelete([key])
                plain.pop(key, None)
        asked = [*plain, "never written"]
        assert store.mget(asked) == [plain.get(key) for key in asked]
        assert [store.peek(key) for key in asked] == store.mget(asked)
        assert sorted(store.yield_keys()) == sorted(plain)
        assert sorted(store.yield_keys(prefix="b/")) == sorted(k for k in plain if k[:2] == "b/")


def test_the_first_bytes_are_those_of_the_value(backend: ByteStore) -> None:
    backend.mset([("k", bytes(range(200)))])
    assert backend.peek("k", 70) == bytes(range(70))
    assert backend.peek("k", 900) == bytes(range(200))
    assert backend.peek("other", 3) is None
    assert backend.stat("other") is None


def test_sizes_add_up(backend: ByteStore) -> None:
    backend.mset([(str(i), bytes(100 * i)) for i in range(5)])
    backend.mset([("4", b"shorter now")])
    stats = [backend.stat(key) for key in backend.yield_keys()]
    assert sum(found.nbytes for found in stats if found) == backend.nbytes > 600


def test_the_secret_stays(backend: ByteStore) -> None:
    assert len(backend.secret()) == 32
    assert backend.secret() == backend.secret()


def bounded(kind: str, folder: Path, max_bytes: int, evict_last: str = "") -> ByteStore:
    if kind == "memory":
        return MemoryByteStore(max_bytes, evict_last=evict_last)
    return DirectoryByteStore(folder, max_bytes=max_bytes, evict_last=evict_last)


Make = Callable[..., ByteStore]


@pytest.fixture(params=["memory", "directory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return lambda *args, **kwargs: bounded(request.param, tmp_path / "store", *args, **kwargs)


def test_the_bound_holds_after_every_write(make: Make) -> None:
    store = make(20_000)
    for number in range(60):
        store.mset([(f"key {number}", bytes(500 + 37 * number))])
        assert store.nbytes <= 20_000
        assert store.peek(f"key {number}") is not None
    assert store.nbytes > 12_000


def test_what_was_read_last_stays_longest(make: Make) -> None:
    store = make(10_000)
    store.mset([(f"key {number}", bytes(1_000)) for number in range(8)])
    for number in range(8, 40):
        assert store.mget(["key 0"]) != [None]
        store.mset([(f"key {number}", bytes(1_000))])
    assert store.stat("key 0")
    assert not store.stat("key 1")


def test_peek_and_stat_count_no_use(make: Make) -> None:
    store = make(10_000)
    store.mset([("looked at", bytes(1_000))])
    for number in range(40):
        store.mset([(f"key {number}", bytes(1_000))])
        store.peek("looked at")
        store.stat("looked at")
    assert store.peek("looked at") is None


def test_what_is_evicted_last_outlives_everything_else(make: Make) -> None:
    store = make(10_000, evict_last="text/")
    store.mset([("text/old", bytes(100))])
    store.mset([(f"anchors/{number}", bytes(1_000)) for number in range(40)])
    assert store.peek("text/old") == bytes(100)
    store.mset([(f"text/{number}", bytes(1_000)) for number in range(40)])
    assert store.peek("text/old") is None
    assert store.nbytes <= 10_000


def test_a_value_beyond_the_bound_is_refused_and_costs_nothing(make: Make) -> None:
    store = make(2_000)
    store.mset([("small", b"here")])
    with pytest.raises(StoreWriteError, match=r"'large' takes .* bytes.*2,000; raise max_bytes"):
        store.mset([("large", bytes(3_000))])
    assert store.mget(["small", "large"]) == [b"here", None]


def test_a_bound_that_nothing_fits_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="at most 0 bytes"):
        make(0)
