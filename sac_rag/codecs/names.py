"""The names of codecs, known without torch."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from sac_rag.errors import ConfigError

EXACT = "exact"
"""Anchors as the encoder made them, bit for bit."""
PCA = "pca"
PCA_FILE = "sac_pca.safetensors"
"""What a basis is called beside its adapter."""

CODEC_NAMES = (EXACT, "bf16", "fp16", "int8", "int4", PCA)


def check_codec_name(name: str) -> None:
    """Refuse a name that no codec has; ``pca`` wants its basis behind a colon.

    Raises:
        ConfigError: If ``name`` is not known (the nearest is named), or is ``pca`` without a file
            that exists.
    """
    kind, _, path = name.partition(":")
    if kind not in CODEC_NAMES or (path and kind != PCA):
        known = ", ".join(CODEC_NAMES[:-1])
        near = get_close_matches(kind.lower(), CODEC_NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown codec {name!r}; {hint}choose from {known}, {PCA}:FILE")
    if path and not Path(path).exists():
        raise ConfigError(
            f"asked for codec {name!r}: there is no such file or folder; fit a basis with "
            "`sac-rag store fit-basis`, or with sac_rag.codecs.fit_pca and save it there"
        )
    if kind == PCA and not path:
        raise ConfigError(
            f"asked for codec {name!r} without its basis; fit one on some documents with "
            f"`sac-rag store fit-basis` (or sac_rag.codecs.fit_pca) and write {PCA}:FILE (or its "
            "folder)"
        )
