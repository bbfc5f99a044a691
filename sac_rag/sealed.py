"""Tensors and a note in one piece of bytes that shows any damage.

A safetensors file whose header holds a JSON note, and in the note a checksum of everything else:
other tools can read it, nothing is unpickled, and no changed byte goes unnoticed.

The checksum guards against damage, not against an enemy, who could as well write a new one: so it
is XXH3 (128 bits), which reads a file several times as fast as memory is copied. Before it, it was
sha256, which takes longer than everything else that loading does; such bytes are still read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import torch
import xxhash
from safetensors.torch import save
from torch import Tensor

from sac_rag.errors import CorruptEntryError

Buffer = bytes | bytearray | memoryview

_HASHES: dict[bytes, tuple[Callable[[], Any], int]] = {
    b"xxh3:": (xxhash.xxh3_128, 32),
    b"sha256:": (sha256, 64),
}
"""What begins a checksum -> (its hash, hex digits). The first is the one that is written."""
_MARK = next(iter(_HASHES))

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""safetensors' names."""


def seal(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> bytes:
    """Write tensors and a note.

    Args:
        tensors: By name; moved to the CPU.
        note: What JSON can hold; ``checksum`` is added to it.
    """
    length = _HASHES[_MARK][1]
    full = {**note, "checksum": _MARK.decode() + "0" * length}
    blob = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={"sac_rag": json.dumps(full)},
    )
    spot, _ = _find_digest(blob)
    return blob[:spot] + _digest(blob, spot, _MARK) + blob[spot + length :]


def read_note(blob: Buffer, *, checked: bool = False) -> dict[str, Any]:
    """Check every byte of what ``seal`` wrote, and return the note.

    Args:
        blob: From ``seal``.
        checked: Whether the place that it comes from has checked every byte already.

    Raises:
        CorruptEntryError: If a single byte differs from what was written.
    """
    spot, mark = _find_digest(blob)
    if not checked and bytes(blob[spot : spot + _HASHES[mark][1]]) != _digest(blob, spot, mark):
        raise CorruptEntryError(
            f"anchor bytes ({len(blob):,} of them) do not match their checksum: they were "
            "damaged after writing; delete the entry and compress the text again"
        )
    return json.loads(_header(blob)["__metadata__"]["sac_rag"])


def read_tensors(blob: Buffer) -> dict[str, Tensor]:
    """Give the tensors of what ``read_note`` has checked, bit for bit.

    They lie in the memory of ``blob`` and keep it alive: nothing is copied, unless it is ``bytes``,
    which nobody may write to.
    """
    if isinstance(blob, bytes):
        blob = bytearray(blob)
    header = _header(blob)
    start = 8 + int.from_bytes(blob[:8], "little")
    header.pop("__metadata__")
    return {name: _tensor(blob, start, about) for name, about in header.items()}


def _tensor(blob: Buffer, start: int, about: Mapping[str, Any]) -> Tensor:
    dtype = _DTYPES[about["dtype"]]
    begin, end = about["data_offsets"]
    if begin == end:
        return torch.empty(about["shape"], dtype=dtype)
    count = (end - begin) // dtype.itemsize
    flat = torch.frombuffer(blob, dtype=dtype, count=count, offset=start + begin)
    return flat.reshape(about["shape"])


def _header(blob: Buffer) -> dict[str, Any]:
    return json.loads(bytes(blob[8 : 8 + int.from_bytes(blob[:8], "little")]))


def _find_digest(blob: Buffer) -> tuple[int, bytes]:
    """Give (where the checksum's digits begin, what stands before them)."""
    length = int.from_bytes(blob[:8], "little")
    if not 0 < length <= len(blob) - 8:
        raise CorruptEntryError(
            f"anchor bytes ({len(blob):,} of them) are torn: their header should take {length:,}; "
            "delete the entry and compress the text again"
        )
    head = bytes(blob[: 8 + length])
    for mark in _HASHES:
        spot = head.find(mark, 8)
        if spot >= 0:
            return spot + len(mark), mark
    raise CorruptEntryError(
        "anchor bytes carry no checksum: they were not written by sac-rag, or were damaged; "
        "delete the entry and compress the text again"
    )


def _digest(blob: Buffer, spot: int, mark: bytes) -> bytes:
    make, length = _HASHES[mark]
    view = memoryview(blob)
    digest = make()
    digest.update(view[:spot])
    digest.update(b"0" * length)
    digest.update(view[spot + length :])
    return digest.hexdigest().encode()
