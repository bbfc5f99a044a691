"""Adapters: what was trained, saved and loaded as the hub's users know it."""

from sac_rag.adapter.adapter import Adapter
from sac_rag.adapter.config import BaseIdentity, SACConfig
from sac_rag.adapter.folder import fetch_adapter
from sac_rag.adapter.released import import_checkpoint

__all__ = ["Adapter", "BaseIdentity", "SACConfig", "fetch_adapter", "import_checkpoint"]
