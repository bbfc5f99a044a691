"""Codecs by name, and bytes of any codec back to anchors."""

from __future__ import annotations

from collections.abc import Callable

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.base import Codec, Encoded
from sac_rag.codecs.basis import PCABasis
from sac_rag.codecs.integer import IntegerCodec
from sac_rag.codecs.names import EXACT, PCA, check_codec_name
from sac_rag.codecs.pca import PCACodec
from sac_rag.codecs.plain import HALVES, ExactCodec, HalfCodec
from sac_rag.errors import CorruptEntryError, StoreFormatError

FindBasis = Callable[[str], PCABasis | None]
"""From the id of a basis to the basis, None if it is not there."""

_CODECS: dict[str, Callable[[], Codec]] = {
    EXACT: ExactCodec,
    **{name: lambda name=name: HalfCodec(name) for name in HALVES},
    "int8": lambda: IntegerCodec(8),
    "int4": lambda: IntegerCodec(4),
}
"""Those that need nothing but their name."""


def get_codec(name: str) -> Codec:
    """Give a codec by its name: ``exact``, ``bf16``, ``fp16``, ``int8``, ``int4``, ``pca:FILE``.

    Raises:
        ConfigError: If the name is not known, or the basis is not there.
        CorruptEntryError: If the basis is damaged.
    """
    check_codec_name(name)
    kind, _, path = name.partition(":")
    return PCACodec(PCABasis.load(path)) if kind == PCA else _CODECS[kind]()


def decode(encoded: Encoded, *, find_basis: FindBasis | None = None) -> AnchorCache:
    """Give the anchors that any codec wrote.

    Args:
        encoded: From any codec.
        find_basis: Where bases are found by their ids; only ``pca`` asks.

    Raises:
        StoreFormatError: If this version has no such codec.
        CorruptEntryError: If its basis is lost.
    """
    if encoded.codec == PCA:
        wanted = encoded.note["basis"]
        basis = find_basis(wanted) if find_basis else None
        if basis is None:
            raise CorruptEntryError(
                f"anchors were written with the PCA basis {wanted}, which is not here; give its "
                "codec where the store is opened, or compress the text again"
            )
        return PCACodec(basis).decode(encoded)
    if encoded.codec not in _CODECS:
        raise StoreFormatError(
            f"anchors were written by codec {encoded.codec!r}, this sac-rag has "
            f"{', '.join((*_CODECS, PCA))}; use the version that wrote them, or compress the "
            "text again"
        )
    return _CODECS[encoded.codec]().decode(encoded)


def decode_bytes(blob: bytes, *, find_basis: FindBasis | None = None) -> AnchorCache:
    """Read what ``Encoded.to_bytes`` or ``AnchorCache.to_bytes`` wrote.

    Args:
        blob: The bytes.
        find_basis: See ``decode``.

    Raises:
        CorruptEntryError: If a byte differs from what was written, or a basis is lost.
        StoreFormatError: If another version wrote them.
    """
    return decode(Encoded.from_bytes(blob), find_basis=find_basis)
