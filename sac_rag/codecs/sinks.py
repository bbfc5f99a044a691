"""The parts that lossy codecs share: sinks kept apart, and the cache put together again.

A sink (position 0) draws attention from every token, so an error in it spoils all of them; KVTC and
others leave it as it is, and so does every codec here.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.base import Encoded, take
from sac_rag.layout import SINK_POSITION


def split_sinks(cache: AnchorCache) -> tuple[AnchorCache, dict[str, Tensor]]:
    """Give the anchors that may be rounded, and the others' tensors, empty if there are none."""
    sink_A = cache.positions == SINK_POSITION
    if not sink_A.any():
        return cache, {}
    sinks = take(cache, sink_A)
    return take(cache, ~sink_A), {"sink_keys": sinks.keys, "sink_values": sinks.values}


def dtype_note(cache: AnchorCache) -> dict[str, str]:
    """Give what ``rebuild`` must know of the numbers."""
    return {"dtype": str(cache.keys.dtype).removeprefix("torch.")}


def rebuild(encoded: Encoded, *, keys: Tensor, values: Tensor, positions: Tensor) -> AnchorCache:
    """Put a cache together: decoded anchors in the dtype they had, sinks in their places.

    Args:
        encoded: What is decoded; its sinks are taken from here.
        keys: Of all anchors but the sinks, in place, (L, G, A, K).
        values: Likewise.
        positions: Of all anchors, sinks included.
    """
    dtype = getattr(torch, encoded.note["dtype"])
    # a point of the grid may lie half a step beyond the largest number that float16 has
    largest = torch.finfo(dtype).max
    keys, values = (x.float().clamp(-largest, largest).to(dtype) for x in (keys, values))
    if "sink_keys" in encoded.tensors:
        sink_A = positions == SINK_POSITION
        keys = _merge(keys, encoded.tensors["sink_keys"], sink_A)
        values = _merge(values, encoded.tensors["sink_values"], sink_A)
    return AnchorCache(
        keys=keys,
        values=values,
        positions=positions.to(torch.int64),
        num_tokens=encoded.num_tokens,
        span=encoded.span,
        fingerprint=encoded.fingerprint,
    )


def _merge(body: Tensor, sinks: Tensor, sink_A: Tensor) -> Tensor:
    whole = body.new_empty((*body.shape[:2], len(sink_A), body.shape[3]))
    whole[:, :, ~sink_A] = body
    whole[:, :, sink_A] = sinks
    return whole
