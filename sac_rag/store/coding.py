"""The codec of a store: what it writes, which entries it serves, and where bases are kept."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import TYPE_CHECKING

from sac_rag.codecs.names import CODEC_NAMES, check_codec_name
from sac_rag.errors import ConfigError, CorruptEntryError
from sac_rag.store.base import ByteStore

if TYPE_CHECKING:
    from torch import Tensor

    from sac_rag.anchor_cache import AnchorCache
    from sac_rag.codecs.base import Codec, Encoded
    from sac_rag.codecs.basis import PCABasis


class Coding:
    """Turns anchors into a store's bytes and back.

    Args:
        backend: Keeps the bases beside the entries.
        codec: What ``put`` writes: a name, or a codec.
        min_bits: Fewest bits of a number that an entry must have kept to be served; None for
            those of ``codec``.

    Raises:
        ConfigError: If the codec is not known, or ``min_bits`` is negative.
    """

    def __init__(self, backend: ByteStore, *, codec: str | Codec, min_bits: float | None) -> None:
        if isinstance(codec, str):
            check_codec_name(codec)
        if min_bits is not None and not min_bits >= 0:
            raise ConfigError(
                f"asked to serve entries of at least {min_bits} bits; give 0 for all, or None for "
                f"those of the codec ({', '.join(CODEC_NAMES)})"
            )
        self._backend = backend
        self._named = codec
        self._min_bits = min_bits
        self._codec: Codec | None = None
        self._bases: dict[str, PCABasis] = {}
        self._kept: set[str] = set()

    @property
    def name(self) -> str:
        """The codec's name; a basis' file is no part of it."""
        named = self._named if isinstance(self._named, str) else self._named.name
        return named.partition(":")[0]

    @property
    def codec(self) -> Codec:
        """What ``encode`` writes with; loads torch."""
        if self._codec is None:
            from sac_rag.codecs.registry import get_codec

            named = self._named
            self._codec = get_codec(named) if isinstance(named, str) else named
        return self._codec

    def serves(self, bits: float) -> bool:
        """Say whether an entry that kept so many bits of a number is good enough."""
        if bits == math.inf:
            return True
        return bits >= (self.codec.bits if self._min_bits is None else self._min_bits)

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None) -> Encoded:
        """Write anchors, and their basis beside them if it is not there yet."""
        encoded = self.codec.encode(cache, inv_freq=inv_freq)
        basis: PCABasis | None = getattr(self.codec, "basis", None)
        if basis is not None and basis.id not in self._kept:
            self._backend.keep(basis.id, basis.to_bytes())
            self._kept.add(basis.id)
        return encoded

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Read anchors of any codec.

        Raises:
            CorruptEntryError: If their basis is lost or damaged.
            StoreFormatError: If this version has no such codec.
        """
        from sac_rag.codecs.registry import decode

        return decode(encoded, find_basis=self._find_basis)

    def _find_basis(self, wanted: str) -> PCABasis | None:
        from sac_rag.codecs.basis import PCABasis

        own: PCABasis | None = getattr(self.codec, "basis", None)
        if own is not None and own.id == wanted:
            return own
        if wanted not in self._bases:
            blob = self._backend.kept(wanted)
            if blob is None:
                return None
            if sha256(blob).hexdigest()[: len(wanted)] != wanted:
                raise CorruptEntryError(
                    f"the PCA basis kept as {wanted} is another or was damaged; put the right one "
                    "back, or compress the texts again"
                )
            self._bases[wanted] = PCABasis.from_bytes(blob)
        return self._bases[wanted]
