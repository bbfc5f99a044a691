"""Compress documents once into small, reusable KV caches and answer from them.

The public names load on first use, so that ``import sac_rag`` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "SACEngine": "sac_rag.engine",
    "Answer": "sac_rag.engine",
    "Usage": "sac_rag.engine",
    "Request": "sac_rag.engine",
    "Document": "sac_rag.engine",
    "AnchorCache": "sac_rag.anchor_cache",
    "AnchorStore": "sac_rag.store",
    "open_store": "sac_rag.store",
    "GenerationParams": "sac_rag.generation",
    "SACError": "sac_rag.errors",
    "sanitize": "sac_rag.handles",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from sac_rag.anchor_cache import AnchorCache as AnchorCache
    from sac_rag.engine import Answer as Answer
    from sac_rag.engine import Document as Document
    from sac_rag.engine import Request as Request
    from sac_rag.engine import SACEngine as SACEngine
    from sac_rag.engine import Usage as Usage
    from sac_rag.errors import SACError as SACError
    from sac_rag.generation import GenerationParams as GenerationParams
    from sac_rag.handles import sanitize as sanitize
    from sac_rag.store import AnchorStore as AnchorStore
    from sac_rag.store import open_store as open_store


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sac_rag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
