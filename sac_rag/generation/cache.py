"""The decoder's cache, with room: what comes is written behind what is there, and nothing moves.

transformers' ``DynamicCache`` copies all keys and values for every token that comes.

Shapes: L layers, B batch, M cached tokens, N room, G key/value heads, A anchors, K head dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sac_rag.anchor_cache import AnchorCache, Joined
from sac_rag.backbone import Backbone

Anchors = AnchorCache | Joined
"""Documents, in place or to be moved there as they are written; nobody asks which."""


class RoomyLayer(DynamicLayer):
    """One layer's keys and values, at the head of a larger piece of memory.

    Args:
        keys_BGNK: The memory.
        values_BGNK: The memory.
        filled: Tokens M that are there already.
    """

    def __init__(self, keys_BGNK: Tensor, values_BGNK: Tensor, *, filled: int) -> None:
        super().__init__()
        self.dtype, self.device = keys_BGNK.dtype, keys_BGNK.device
        self.is_initialized = True
        self._room = keys_BGNK, values_BGNK
        self._show(filled)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write tokens (B, G, T, K) behind those that are there; give all, (B, G, S + T, K)."""
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        self._make_room(end)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, begin:end] = new
        self._show(end)
        return self.keys, self.values  # type: ignore[return-value]

    def keep(self, length: int) -> None:
        """Forget all tokens but the first ``length``; copies nothing."""
        self.keys, self.values = self.keys[:, :, :length], self.values[:, :, :length]  # type: ignore[index]

    def _show(self, length: int) -> None:
        self.keys, self.values = (room[:, :, :length] for room in self._room)

    def _make_room(self, length: int) -> None:
        """Move where the room is too small, or rows were chosen or repeated meanwhile."""
        home = self._room[0]
        if length <= home.shape[2] and self.keys.data_ptr() == home.data_ptr():  # type: ignore[union-attr]
            return
        larger = max(length, 3 * length // 2)
        moved = []
        for shown in (self.keys, self.values):
            room = shown.new_empty((*shown.shape[:2], larger, shown.shape[3]))  # type: ignore[union-attr]
            room[:, :, : shown.shape[2]] = shown  # type: ignore[union-attr, index]
            moved.append(room)
        self._room = moved[0], moved[1]


class StandingCache:
    """Anchors laid out once, for prompts that come one after another.

    Args:
        anchors: Documents.
        backbone: The decoder.
        room: Tokens that prompt and answer may take before anything has to move.
    """

    def __init__(self, anchors: Anchors, *, backbone: Backbone, room: int = 512) -> None:
        self.anchors = anchors
        self.cache = stack_anchors([anchors], backbone=backbone, room=room)

    def rewind(self) -> None:
        """Take prompt and answer off; the anchors stay where they are."""
        for layer in self.cache.layers:
            layer.keep(len(self.anchors))  # type: ignore[attr-defined]


def stack_anchors(
    anchors: Sequence[Anchors | None], *, backbone: Backbone, room: int
) -> DynamicCache:
    """Put the rows' anchors side by side, padded on the left, each written once to its place.

    Args:
        anchors: One per row; None for a row without. What several rows share is moved once.
        backbone: Whose cache it is.
        room: Tokens that can come without a move. 0 gives a cache that copies when it grows, and
            lets gradients through.
    """
    config = backbone.config
    cache = DynamicCache(config=config)
    width = max(0 if row is None else len(row) for row in anchors)
    if width + room == 0:
        return cache
    where = {"device": backbone.device, "dtype": backbone.dtype}
    shape = (len(anchors), config.num_key_value_heads, width + room, backbone.head_dim)
    keys, values = (torch.empty((backbone.num_layers, *shape), **where) for _ in range(2))
    first: dict[int, int] = {}
    for index, row in enumerate(anchors):
        begin = width - (0 if row is None else len(row))
        for block in (keys, values):
            block[:, index, :, :begin] = 0  # masked, yet no garbage: 0 * NaN is NaN
        if row is None:
            continue
        before = first.setdefault(id(row), index)
        if before < index:
            for block in (keys, values):
                block[:, index, :, begin:width] = block[:, before, :, begin:width]
        else:
            row.write(keys[:, index, :, begin:width], values[:, index, :, begin:width])
    pairs = zip(keys, values, strict=True)
    if room:
        cache.layers[:] = [RoomyLayer(*pair, filled=width) for pair in pairs]
        return cache
    for layer, pair in enumerate(pairs):
        cache.update(*pair, layer)
    return cache
