"""A look at the entries of a store: what they are, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from sac_rag.errors import CorruptEntryError, StoreFormatError
from sac_rag.store.base import ByteStore
from sac_rag.store.records import AnchorHead, EntryCheck, StoredText, StoreEntry, anchor_head

if TYPE_CHECKING:
    from sac_rag.store.coding import Coding

ANCHORS = "anchors/"
TEXT = "text/"
"""Begins the keys of texts. Small, and what lost anchors are made from again: evict them last."""

_PEEK_BYTES = 8192


def list_entries(backend: ByteStore) -> Iterator[StoreEntry]:
    """List what is there, texts without anchors included; loads no tensor, counts no use."""
    names = chain(*(backend.yield_keys(prefix=prefix) for prefix in (ANCHORS, TEXT)))
    for key in dict.fromkeys(name.partition("/")[2] for name in names):
        entry = entry_of(backend, key)
        if entry is not None:  # else evicted while this was listing
            yield entry


def head_of(backend: ByteStore, key: str) -> AnchorHead | None:
    """Read what the anchors of a key say of themselves; None if they are lost or damaged."""
    try:
        head = backend.peek(ANCHORS + key, _PEEK_BYTES)
    except (CorruptEntryError, StoreFormatError):
        return None
    return anchor_head(head) if head else None


def check_pieces(backend: ByteStore, *, coding: Coding) -> Iterator[EntryCheck]:
    """Read every piece in full and say what is wrong with it; counts no use."""
    for prefix in (ANCHORS, TEXT):
        for name in backend.yield_keys(prefix=prefix):
            status = backend.stat(name)
            if status is not None:
                yield EntryCheck(
                    key=name.removeprefix(prefix),
                    part=prefix.rstrip("/"),
                    nbytes=status.nbytes,
                    error=_error_in(backend, name, coding),
                )


def entry_of(backend: ByteStore, key: str) -> StoreEntry | None:
    """Tell what is under a key, None if nothing is."""
    anchors, text = backend.stat(ANCHORS + key), backend.stat(TEXT + key)
    if not anchors and not text:
        return None
    head = head_of(backend, key) if anchors else None
    return StoreEntry(
        key=key,
        anchor_bytes=anchors.nbytes if anchors else 0,
        text_bytes=text.nbytes if text else 0,
        last_used_s=max(status.last_used_s for status in (anchors, text) if status),
        num_tokens=head and head.num_tokens,
        num_anchors=head and head.num_anchors,
        fingerprint=head and head.fingerprint,
        codec=head and head.codec,
    )


def _error_in(backend: ByteStore, name: str, coding: Coding) -> str | None:
    # Here, not above: listing a store should not wait for torch.
    from sac_rag.codecs.base import Encoded

    try:
        blob = backend.peek(name)
        if blob is None:
            return None
        if name.startswith(ANCHORS):
            coding.decode(Encoded.from_bytes(blob))
        else:
            StoredText.from_bytes(blob)
    except (CorruptEntryError, StoreFormatError) as error:
        return str(error)
    return None
