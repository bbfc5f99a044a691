"""Adapters: what was trained, saved and loaded as the hub's users know it."""

from sac_rag.adapter.adapter import Adapter
from sac_rag.adapter.config import BaseIdentity, SACConfig
from sac_rag.adapter.folder import fetch_adapter
from sac_rag.adapter.released import import_checkpoint
from sac_rag.adapter.sink import behind_sink, read_sink

__all__ = [
    "Adapter",
    "BaseIdentity",
    "SACConfig",
    "behind_sink",
    "fetch_adapter",
    "import_checkpoint",
    "read_sink",
]
