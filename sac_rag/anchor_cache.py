"""The one value that everything passes: the anchors of a text.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from safetensors.torch import load, save
from torch import Tensor

from sac_rag.errors import CorruptEntryError, IncompatibleCacheError, StoreFormatError
from sac_rag.rope import relocate_keys

FORMAT_VERSION = 1
"""Of the bytes that ``AnchorCache.to_bytes`` writes, and part of every fingerprint."""

_DIGEST_MARK = b"sha256:"
_DIGEST_LENGTH = 64


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
            "checksum": _DIGEST_MARK.decode() + "0" * _DIGEST_LENGTH,
        }
        tensors = {"keys": self.keys, "values": self.values, "positions": self.positions}
        blob = save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"sac_rag": json.dumps(note)},
        )
        spot = _digest_spot(blob)
        return blob[:spot] + _digest(blob, spot) + blob[spot + _DIGEST_LENGTH :]

    @classmethod
    def from_bytes(cls, blob: bytes) -> AnchorCache:
        """Read what ``to_bytes`` wrote, bit for bit.

        Raises:
            CorruptEntryError: If a single byte differs from what was written.
            StoreFormatError: If another format version wrote it.
        """
        spot = _digest_spot(blob)
        if blob[spot : spot + _DIGEST_LENGTH] != _digest(blob, spot):
            raise CorruptEntryError(
                f"anchor bytes ({len(blob):,} of them) do not match their checksum: they were "
                "damaged after writing; delete the entry and compress the text again"
            )
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        note = json.loads(header["__metadata__"]["sac_rag"])
        if note["format_version"] != FORMAT_VERSION:
            raise StoreFormatError(
                f"anchor bytes have format version {note['format_version']}, this sac-rag reads "
                f"{FORMAT_VERSION}; compress the text again, or use the version that wrote them"
            )
        tensors = load(blob)
        return cls(
            **tensors,
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
    _check_compatible(caches)
    moved, start = [], 0
    for cache in caches:
        moved.append(cache.relocate(start, inv_freq=inv_freq))
        start += cache.span
    return cat(moved)


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


__all__ = ["FORMAT_VERSION", "AnchorCache", "cat", "join"]
