"""How anchors are written: as they are, in half precision, in 8 or 4 bits, or by PCA.

The names load on first use: looking at a store should not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sac_rag.codecs.names import CODEC_NAMES, EXACT, check_codec_name

_HOMES = {
    "Codec": "sac_rag.codecs.base",
    "Encoded": "sac_rag.codecs.base",
    "ExactCodec": "sac_rag.codecs.plain",
    "HalfCodec": "sac_rag.codecs.plain",
    "IntegerCodec": "sac_rag.codecs.integer",
    "PCABasis": "sac_rag.codecs.basis",
    "PCACodec": "sac_rag.codecs.pca",
    "fit_pca": "sac_rag.codecs.basis",
    "get_codec": "sac_rag.codecs.registry",
    "decode": "sac_rag.codecs.registry",
    "decode_bytes": "sac_rag.codecs.registry",
}

__all__ = [
    "CODEC_NAMES",
    "EXACT",
    "Codec",
    "Encoded",
    "ExactCodec",
    "HalfCodec",
    "IntegerCodec",
    "PCABasis",
    "PCACodec",
    "check_codec_name",
    "decode",
    "decode_bytes",
    "fit_pca",
    "get_codec",
]

if TYPE_CHECKING:
    from sac_rag.codecs.base import Codec as Codec
    from sac_rag.codecs.base import Encoded as Encoded
    from sac_rag.codecs.basis import PCABasis as PCABasis
    from sac_rag.codecs.basis import fit_pca as fit_pca
    from sac_rag.codecs.integer import IntegerCodec as IntegerCodec
    from sac_rag.codecs.pca import PCACodec as PCACodec
    from sac_rag.codecs.plain import ExactCodec as ExactCodec
    from sac_rag.codecs.plain import HalfCodec as HalfCodec
    from sac_rag.codecs.registry import decode as decode
    from sac_rag.codecs.registry import decode_bytes as decode_bytes
    from sac_rag.codecs.registry import get_codec as get_codec


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sac_rag.codecs' has no attribute {name!r}")
