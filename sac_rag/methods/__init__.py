"""Ways to turn a chunk into an anchor cache, one file each, behind one contract."""

from sac_rag.methods.base import Method
from sac_rag.methods.sac import SAC

__all__ = ["SAC", "Method"]
