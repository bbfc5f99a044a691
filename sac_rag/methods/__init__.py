"""Ways to turn a chunk into an anchor cache, one file each, behind one contract."""

from collections.abc import Callable

from sac_rag.methods.appended import EPL, FiveHundred
from sac_rag.methods.base import Method
from sac_rag.methods.icae import ICAE
from sac_rag.methods.sac import SAC

METHODS: dict[str, Callable[..., Method]] = {
    "sac": SAC,
    "epl": EPL,
    "500x": FiveHundred,
    "icae": ICAE,
}

__all__ = ["EPL", "ICAE", "METHODS", "SAC", "FiveHundred", "Method"]
