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
from sac_rag.rope import relocate_keys, relocate_keys_
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


def join(caches: Sequence[AnchorCache], *, inv_freq: Tensor) -> AnchorCache:
    """Lay texts one behind another, each moved once to where the one before it ends.

    Args:
        caches: One per text, each as it was compressed: standing alone, from position 1.
        inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token.

    Raises:
        IncompatibleCacheError: If there are none, or two differ in fingerprint or shape.
    """
    joined = cat(caches)
    if len(caches) == 1:
        return joined
    # All texts and layers in one turn: a text that stays is turned by nothing, bit for bit.
    starts = [0, *accumulate(cache.span for cache in caches[:-1])]
    counts = [len(cache) for cache in caches]
    shift_A = torch.tensor(starts).repeat_interleave(torch.tensor(counts)).to(joined.keys.device)
    move = relocate_keys if joined.keys.requires_grad else relocate_keys_
    keys = move(joined.keys, shift_A=shift_A, inv_freq=inv_freq)
    return replace(joined, keys=keys, positions=joined.positions + shift_A)


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


__all__ = ["FORMAT_VERSION", "AnchorCache", "cat", "join"]
