"""The one value that everything passes: the anchors of a text.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from sac_rag.errors import IncompatibleCacheError, StoreFormatError
from sac_rag.rope import relocate_into, relocate_keys
from sac_rag.sealed import Buffer, read_note, read_tensors, seal

FORMAT_VERSION = 1
"""Of the bytes that ``AnchorCache.to_bytes`` writes, and part of every fingerprint."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnchorCache:
    """The anchors of one or more texts, ready to stand before a prompt. Never changed in place."""

    keys: Tensor
    """Rotated keys, (L, G, A, K)."""
    values: Tensor
    """Values, (L, G, A, K)."""
    positions: Tensor
    """Where each anchor stands, in tokens counted from 1, (A,) int64."""
    num_tokens: int
    """Length of the text that the anchors stand for, in tokens."""
    fingerprint: str
    """Model, method and adapter that made it. Caches join only within one fingerprint."""
    span: int = -1
    """Positions that they take up: where the next text may begin. By default ``num_tokens``; less
    for methods that give their anchors positions of their own."""

    def __post_init__(self) -> None:
        if self.span < 0:
            object.__setattr__(self, "span", self.num_tokens)

    def __len__(self) -> int:
        return self.positions.shape[0]

    def __repr__(self) -> str:
        return (
            f"AnchorCache({len(self)} anchors for {self.num_tokens} tokens, "
            f"{self.nbytes:,} bytes, fingerprint={self.fingerprint[:12]!r})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def relocate(self, shift: int, *, inv_freq: Tensor) -> AnchorCache:
        """Move the anchors ``shift`` tokens on, exactly as if they had been encoded there.

        Args:
            shift: Distance in tokens; negative moves back.
            inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token.
        """
        if shift == 0:
            return self
        keys = relocate_keys(self.keys, shift_A=shift, inv_freq=inv_freq)
        return replace(self, keys=keys, positions=self.positions + shift)

    def write(self, keys_LGAK: Tensor, values_LGAK: Tensor) -> None:
        """Copy the anchors into memory of their shape, of any precision."""
        keys_LGAK.copy_(self.keys)
        values_LGAK.copy_(self.values)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> AnchorCache:
        """Copy the anchors to a device, and to another precision if one is given."""
        return replace(
            self,
            keys=self.keys.to(device=device, dtype=dtype),
            values=self.values.to(device=device, dtype=dtype),
            positions=self.positions.to(device),
        )

    def to_bytes(self) -> bytes:
        """Write a safetensors file whose header holds a JSON note and a checksum of the whole."""
        note = {
            "format_version": FORMAT_VERSION,
            "num_tokens": self.num_tokens,
            "span": self.span,
            "fingerprint": self.fingerprint,
        }
        tensors = {"keys": self.keys, "values": self.values, "positions": self.positions}
        return seal(tensors, note)

    @classmethod
    def from_bytes(cls, blob: Buffer) -> AnchorCache:
        """Read what ``to_bytes`` wrote, bit for bit; from a buffer that is not ``bytes``, in place.

        Raises:
            CorruptEntryError: If a single byte differs from what was written.
            StoreFormatError: If another format version wrote it, or a codec did (such bytes are
                read by ``sac_rag.codecs.decode_bytes``).
        """
        note = read_note(blob)
        if note["format_version"] != FORMAT_VERSION:
            raise StoreFormatError(
                f"anchor bytes have format version {note['format_version']}, this sac-rag reads "
                f"{FORMAT_VERSION}; compress the text again, or use the version that wrote them"
            )
        return cls(
            **read_tensors(blob),
            num_tokens=int(note["num_tokens"]),
            span=int(note["span"]),
            fingerprint=str(note["fingerprint"]),
        )


def cat(caches: Sequence[AnchorCache]) -> AnchorCache:
    """Put the chunks of one text together; their positions already follow one another.

    Raises:
        IncompatibleCacheError: If there are none, or two differ in fingerprint or shape.
    """
    _check_compatible(caches)
    if len(caches) == 1:
        return caches[0]
    return AnchorCache(
        keys=torch.cat([cache.keys for cache in caches], dim=2),
        values=torch.cat([cache.values for cache in caches], dim=2),
        positions=torch.cat([cache.positions for cache in caches]),
        num_tokens=sum(cache.num_tokens for cache in caches),
        span=sum(cache.span for cache in caches),
        fingerprint=caches[0].fingerprint,
    )


@dataclass(frozen=True, eq=False)
class Joined:
    """Texts one behind another, each moved once to where the one before it ends.

    Nothing is computed until they are written, straight to where the decoder reads them. Gradients
    pass through ``join``, not here.

    Args:
        caches: One per text, each as it was compressed: standing alone, from position 1.
        inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token.

    Raises:
        IncompatibleCacheError: If there are none, or two differ in fingerprint or shape.
    """

    caches: tuple[AnchorCache, ...]
    inv_freq: Tensor

    def __post_init__(self) -> None:
        _check_compatible(self.caches)

    def __len__(self) -> int:
        return sum(map(len, self.caches))

    @property
    def span(self) -> int:
        """Positions that they take up."""
        return sum(cache.span for cache in self.caches)

    @property
    def shifts(self) -> list[int]:
        """How far each text moves, in tokens."""
        return [0, *accumulate(cache.span for cache in self.caches[:-1])]

    def write(self, keys_LGAK: Tensor, values_LGAK: Tensor) -> None:
        """Move the texts into memory of their shape, all in one pass: nothing is copied twice."""
        counts = [len(cache) for cache in self.caches]
        places = zip(keys_LGAK.split(counts, dim=2), values_LGAK.split(counts, dim=2), strict=True)
        for cache, shift, (keys, values) in zip(self.caches, self.shifts, places, strict=True):
            if shift:
                relocate_into(keys, cache.keys, shift_A=shift, inv_freq=self.inv_freq)
                values.copy_(cache.values)
            else:
                cache.write(keys, values)


def join(caches: Sequence[AnchorCache], *, inv_freq: Tensor) -> AnchorCache:
    """Lay texts one behind another, as one value; gradients pass. ``Joined`` does it in place.

    Args:
        caches: One per text, each as it was compressed: standing alone, from position 1.
        inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token.

    Raises:
        IncompatibleCacheError: If there are none, or two differ in fingerprint or shape.
    """
    joined = Joined(tuple(caches), inv_freq)
    pairs = zip(joined.caches, joined.shifts, strict=True)
    return cat([cache.relocate(shift, inv_freq=inv_freq) for cache, shift in pairs])


def _check_compatible(caches: Sequence[AnchorCache]) -> None:
    if not caches:
        raise IncompatibleCacheError("asked to join 0 anchor caches; give at least one")
    fingerprints = sorted({cache.fingerprint for cache in caches})
    if len(fingerprints) != 1:
        raise IncompatibleCacheError(
            f"these {len(caches)} caches come from {len(fingerprints)} compressors "
            f"({', '.join(name[:12] for name in fingerprints)}); compress all of them with one "
            "model, method and adapter"
        )
    shapes = {(*cache.keys.shape[:2], cache.keys.shape[3]) for cache in caches}
    if len(shapes) != 1:
        raise IncompatibleCacheError(
            f"these {len(caches)} caches differ in (layers, heads, head dim): {sorted(shapes)}; "
            "compress all of them with one model"
        )


__all__ = ["FORMAT_VERSION", "AnchorCache", "Joined", "cat", "join"]
