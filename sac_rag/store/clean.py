"""Which entries a clean-up removes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sac_rag.store.base import ByteStore, EntryStat
from sac_rag.store.records import GCReport


def collect(
    backend: ByteStore,
    *,
    prefixes: Sequence[str],
    max_bytes: int | None,
    max_age_s: float | None,
) -> GCReport:
    """Remove leftovers, then old entries, then the longest unused ones.

    Args:
        backend: Where.
        prefixes: Of the pieces of an entry; those of the first go first when bytes must go.
        max_bytes: Remove until the pieces together take no more.
        max_age_s: Remove entries none of whose pieces was used for so long, in seconds.
    """
    leftovers = backend.sweep()
    pieces = {
        name: status
        for prefix in prefixes
        for name in backend.yield_keys(prefix=prefix)
        if (status := backend.stat(name)) is not None
    }
    doomed = [] if max_age_s is None else _unused(pieces, since_s=time.time() - max_age_s)
    if max_bytes is not None:
        kept = {name: status for name, status in pieces.items() if name not in set(doomed)}
        doomed += _beyond(kept, prefixes=prefixes, max_bytes=max_bytes)
    backend.mdelete(doomed)
    return GCReport(
        anchors=sum(name.startswith(prefixes[0]) for name in doomed),
        texts=sum(not name.startswith(prefixes[0]) for name in doomed),
        freed_bytes=sum(pieces[name].nbytes for name in doomed),
        leftovers=leftovers,
    )


def _unused(pieces: dict[str, EntryStat], *, since_s: float) -> list[str]:
    last_used_s: dict[str, float] = {}
    for name, status in pieces.items():
        key = name.partition("/")[2]
        last_used_s[key] = max(last_used_s.get(key, 0.0), status.last_used_s)
    return [name for name in pieces if last_used_s[name.partition("/")[2]] < since_s]


def _beyond(pieces: dict[str, EntryStat], *, prefixes: Sequence[str], max_bytes: int) -> list[str]:
    def order(name: str) -> tuple[bool, float]:
        return not name.startswith(prefixes[0]), pieces[name].last_used_s

    total = sum(status.nbytes for status in pieces.values())
    doomed = []
    for name in sorted(pieces, key=order):
        if total <= max_bytes:
            break
        doomed.append(name)
        total -= pieces[name].nbytes
    return doomed
