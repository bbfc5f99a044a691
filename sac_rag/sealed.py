"""Tensors and a note in one piece of bytes that shows any damage.

A safetensors file whose header holds a JSON note, and in the note a checksum of everything else:
other tools can read it, nothing is unpickled, and no changed byte goes unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from sac_rag.errors import CorruptEntryError

_DIGEST_MARK = b"sha256:"
_DIGEST_LENGTH = 64


def seal(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> bytes:
    """Write tensors and a note.

    Args:
        tensors: By name; moved to the CPU.
        note: What JSON can hold; ``checksum`` is added to it.
    """
    full = {**note, "checksum": _DIGEST_MARK.decode() + "0" * _DIGEST_LENGTH}
    blob = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={"sac_rag": json.dumps(full)},
    )
    spot = _digest_spot(blob)
    return blob[:spot] + _digest(blob, spot) + blob[spot + _DIGEST_LENGTH :]


def read_note(blob: bytes) -> dict[str, Any]:
    """Check every byte of what ``seal`` wrote, and return the note.

    Raises:
        CorruptEntryError: If a single byte differs from what was written.
    """
    spot = _digest_spot(blob)
    if blob[spot : spot + _DIGEST_LENGTH] != _digest(blob, spot):
        raise CorruptEntryError(
            f"anchor bytes ({len(blob):,} of them) do not match their checksum: they were "
            "damaged after writing; delete the entry and compress the text again"
        )
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    return json.loads(header["__metadata__"]["sac_rag"])


def read_tensors(blob: bytes) -> dict[str, Tensor]:
    """Read the tensors of what ``read_note`` has checked, bit for bit."""
    return load(blob)


def _digest_spot(blob: bytes) -> int:
    length = int.from_bytes(blob[:8], "little")
    if not 0 < length <= len(blob) - 8:
        raise CorruptEntryError(
            f"anchor bytes ({len(blob):,} of them) are torn: their header should take {length:,}; "
            "delete the entry and compress the text again"
        )
    spot = blob.find(_DIGEST_MARK, 8, 8 + length)
    if spot < 0:
        raise CorruptEntryError(
            "anchor bytes carry no checksum: they were not written by sac-rag, or were damaged; "
            "delete the entry and compress the text again"
        )
    return spot + len(_DIGEST_MARK)


def _digest(blob: bytes, spot: int) -> bytes:
    view = memoryview(blob)
    digest = sha256(view[:spot])
    digest.update(b"0" * _DIGEST_LENGTH)
    digest.update(view[spot + _DIGEST_LENGTH :])
    return digest.hexdigest().encode()
