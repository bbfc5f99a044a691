"""Documents' anchors behind each other: one value for all prompts that want the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from sac_rag.adapter import behind_sink
from sac_rag.anchor_cache import AnchorCache, Joined
from sac_rag.engine.compressor import Compressed

MOST = 8
"""Joined contexts that are kept at a time."""


class Joins:
    """Joins documents, and remembers; lives as long as a call, or as a context.

    Args:
        inv_freq: The model's RoPE frequencies, (K / 2,).
        sink: Gives what stands before all documents, or None.
    """

    def __init__(self, *, inv_freq: Tensor, sink: Callable[[], AnchorCache | None]) -> None:
        self._inv_freq = inv_freq
        self._sink = sink
        self._made: OrderedDict[tuple[str | int, ...], Joined] = OrderedDict()

    def of(self, made: Sequence[Compressed]) -> Joined:
        """Give documents as they stand behind each other: the same object for the same ones."""
        # A cache without a key is known by its id, which stays its own while `caches` holds it.
        names = tuple(one.key or id(one.cache) for one in made)
        found = self._made.get(names)
        if found is None:
            documents = [one.cache for one in made]
            found = Joined(behind_sink(self._sink(), documents), self._inv_freq)
            self._made[names] = found
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(names)
        return found
