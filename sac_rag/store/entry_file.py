"""The bytes of one entry file: who it is, how long it is, and proof that it is whole.

===========  ==========================================================================
bytes        hold
===========  ==========================================================================
0..8         ``SACENTRY``
8..12        format version, little endian
12..16       length of the header, little endian
16..48       sha256 of bytes 0..16 and of the header
48..         header: JSON with ``key``, ``size`` and ``xxh3`` (128 bits) of the payload
padding      zeros, up to a multiple of 64: the payload can be mapped into memory as it is
then         payload
===========  ==========================================================================

The first 48 bytes keep their meaning in every version, so that damage and another version are
told apart. Version 1 has ``sha256`` in the place of ``xxh3``, and is read as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, TypeVar

import xxhash

from sac_rag.errors import CorruptEntryError, StoreFormatError

FORMAT_VERSION = 2
"""Of the entry files that are written."""

_HASHES = {1: ("sha256", sha256), 2: ("xxh3", xxhash.xxh3_128)}
"""Format version -> (name, hash) of the payload's checksum."""

Blob = TypeVar("Blob", bytes, memoryview)

_MAGIC = b"SACENTRY"
_PREAMBLE = 48
_ALIGNMENT = 64


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an entry file says of itself, checked."""

    key: str
    size: int
    """Of the payload, in bytes."""
    version: int
    """Of the format."""
    checksum: str
    """Of the payload, in hex."""
    start: int
    """Where the payload begins, in bytes: a multiple of 64."""


def pack(key: str, value: bytes) -> tuple[bytes, bytes]:
    """Return what to write: everything before the payload, and the payload."""
    name, make = _HASHES[FORMAT_VERSION]
    note = {"key": key, "size": len(value), name: make(value).hexdigest()}
    header = json.dumps(note).encode()
    fixed = _MAGIC + FORMAT_VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
    head = fixed + sha256(fixed + header).digest() + header
    return head + b"\0" * (-len(head) % _ALIGNMENT), value


def read_header(blob: bytes | memoryview, *, name: str) -> Header:
    """Read what stands before the payload.

    Args:
        blob: The file, or enough of its beginning.
        name: The file's name, for messages.

    Raises:
        CorruptEntryError: If it is damaged or torn.
        StoreFormatError: If another format version wrote it.
    """
    length = int.from_bytes(blob[12:16], "little")
    header = bytes(blob[_PREAMBLE : _PREAMBLE + length])
    fixed = bytes(blob[:16])
    if fixed[:8] != _MAGIC or len(header) != length:
        raise corrupt(name, "its first bytes are not those of an entry, or are cut off")
    if sha256(fixed + header).digest() != blob[16:_PREAMBLE]:
        raise corrupt(name, "its header does not match its checksum")
    version = int.from_bytes(blob[8:12], "little")
    if version not in _HASHES:
        raise StoreFormatError(
            f"{name} has format version {version}, this sac-rag reads "
            f"{' and '.join(map(str, _HASHES))}; delete it and compress the text again, or use "
            "the version that wrote it"
        )
    end = _PREAMBLE + length
    note = json.loads(header)
    return Header(
        key=note["key"],
        size=note["size"],
        version=version,
        checksum=note[_HASHES[version][0]],
        start=end + -end % _ALIGNMENT,
    )


def read_head(file: BinaryIO) -> bytes:
    """Return what ``read_header`` needs of an opened entry file, and no more."""
    head = file.read(_PREAMBLE)
    return head + file.read(int.from_bytes(head[12:16], "little"))


def unpack(blob: Blob, *, key: str, name: str) -> Blob:
    """Return the payload of an entry file, every byte checked; of a view, a view.

    Args:
        blob: The whole file.
        key: The key that it was looked up by.
        name: The file's name, for messages.

    Raises:
        CorruptEntryError: If a byte differs from what was written, or it is another key's entry.
        StoreFormatError: If another format version wrote it.
    """
    header = read_header(blob, name=name)
    if header.key != key:
        raise corrupt(name, f"it holds the entry {header.key!r} where {key!r} belongs")
    if len(blob) != header.start + header.size:
        raise corrupt(name, f"it has {len(blob):,} bytes of {header.start + header.size:,}")
    length = int.from_bytes(blob[12:16], "little")
    if any(blob[_PREAMBLE + length : header.start]):
        raise corrupt(name, "its padding is not empty")
    value = blob[header.start :]
    if _HASHES[header.version][1](value).hexdigest() != header.checksum:
        raise corrupt(name, "its payload does not match its checksum")
    return value


def corrupt(name: str, found: str) -> CorruptEntryError:
    """Say which file is damaged, how, and the way out."""
    return CorruptEntryError(
        f"store entry {name} is damaged: {found}. Nothing of it was used; compress its text again "
        "(that writes it anew), or delete the file. `sac-rag store verify` lists all such files"
    )
