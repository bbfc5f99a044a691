"""The contract of a codec: an anchor cache goes in, tensors and a note come out, and back.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from sac_rag.anchor_cache import FORMAT_VERSION, AnchorCache
from sac_rag.codecs.names import EXACT
from sac_rag.errors import ConfigError, StoreFormatError
from sac_rag.sealed import Buffer, read_note, read_tensors, seal

CODEC_VERSION = 2
"""Format version of bytes that a codec wrote. Those of ``exact`` stay version 1, which every
sac-rag reads; an older one tells of these that it cannot."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """An anchor cache as a codec wrote it."""

    codec: str
    """Its name."""
    bits: float
    """Kept of each number, nominally; infinite for ``exact``. What is lossier has fewer."""
    tensors: Mapping[str, Tensor]
    """The codec's own, on the CPU."""
    num_anchors: int
    num_tokens: int
    span: int
    fingerprint: str
    note: Mapping[str, Any] = field(default_factory=dict)
    """What else the codec needs to decode: JSON."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, scales and all: the payload."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def to_bytes(self) -> bytes:
        """Write everything, with a checksum; ``exact`` as ``AnchorCache.to_bytes`` does."""
        note: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "num_tokens": self.num_tokens,
            "span": self.span,
            "fingerprint": self.fingerprint,
        }
        if self.codec != EXACT:
            about = {"name": self.codec, "bits": self.bits, **self.note}
            note |= {
                "format_version": CODEC_VERSION,
                "num_anchors": self.num_anchors,
                "codec": about,
            }
        return seal(self.tensors, note)

    @classmethod
    def from_bytes(cls, blob: Buffer, *, checked: bool = False) -> Encoded:
        """Read what ``to_bytes`` or ``AnchorCache.to_bytes`` wrote; see ``read_note``.

        Raises:
            CorruptEntryError: If a single byte differs from what was written.
            StoreFormatError: If another format version wrote it.
        """
        note = read_note(blob, checked=checked)
        about = dict(note.get("codec", {"name": EXACT, "bits": math.inf}))
        wanted = CODEC_VERSION if "codec" in note else FORMAT_VERSION
        if note["format_version"] != wanted:
            raise StoreFormatError(
                f"anchor bytes have format version {note['format_version']}, this sac-rag reads "
                f"{wanted}; compress the text again, or use the version that wrote them"
            )
        tensors = read_tensors(blob)
        num_anchors = note["num_anchors"] if "codec" in note else len(tensors["positions"])
        return cls(
            codec=about.pop("name"),
            bits=float(about.pop("bits")),
            tensors=tensors,
            num_anchors=int(num_anchors),
            num_tokens=int(note["num_tokens"]),
            span=int(note["span"]),
            fingerprint=str(note["fingerprint"]),
            note=about,
        )


class Codec(Protocol):
    """Writes anchor caches in some form, and reads that form."""

    @property
    def name(self) -> str:
        """What entries call it."""
        ...

    @property
    def bits(self) -> float:
        """Bits that it keeps of each number, nominally."""
        ...

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None = None) -> Encoded:
        """Write a cache.

        Args:
            cache: Any; it is not changed.
            inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token. Codecs that
                turn keys back to position 0 need them.

        Raises:
            ConfigError: If the codec cannot write this cache, or frequencies are missing.
        """
        ...

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Read what ``encode`` wrote: shape, dtype and positions as they were."""
        ...


def describe(cache: AnchorCache) -> dict[str, Any]:
    """Give what every ``Encoded`` says of its cache."""
    return {
        "num_anchors": len(cache),
        "num_tokens": cache.num_tokens,
        "span": cache.span,
        "fingerprint": cache.fingerprint,
    }


def take(cache: AnchorCache, chosen_A: Tensor) -> AnchorCache:
    """Give the anchors where a mask is set; the count of tokens stays that of the whole."""
    return replace(
        cache,
        keys=cache.keys[:, :, chosen_A],
        values=cache.values[:, :, chosen_A],
        positions=cache.positions[chosen_A],
    )


def check_finite(cache: AnchorCache, codec: str) -> None:
    """Refuse numbers that have no place on a grid.

    Raises:
        ConfigError: If a key or value is infinite or no number.
    """
    if not (torch.isfinite(cache.keys).all() and torch.isfinite(cache.values).all()):
        raise ConfigError(
            f"codec {codec!r} cannot write {cache!r}: it holds infinite numbers or NaN; the "
            "encoder overflowed (a wider dtype may mend that), or store it with codec='exact'"
        )
