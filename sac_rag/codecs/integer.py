"""Anchors in 8 or 4 bits: keys per channel, values per token (KIVI, arXiv:2402.02750).

Keys are turned back to position 0 first. RoPE spreads what one channel holds over a pair of them,
differently at every position; standing still, a channel keeps its own range, and the error does
not depend on where a text was encoded.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.base import Encoded, check_finite, describe
from sac_rag.codecs.grid import Gridded, from_grid, num_groups, to_grid
from sac_rag.codecs.sinks import dtype_note, rebuild, split_sinks
from sac_rag.codecs.still import need_frequencies, placed_keys, still_keys
from sac_rag.errors import ConfigError

KEY_GROUP = 128
"""Most anchors whose keys share a step in a channel; 102 stand for a chunk of 510 at ratio 5."""
VALUE_GROUP = 64
"""Most channels of a head that share a step in a token's value."""

_ANCHORS, _CHANNELS = 2, 3


class IntegerCodec:
    """Writes keys and values on a grid of 256 or 16 points.

    A key costs ``bits`` and, for each group of ``KEY_GROUP`` anchors and channel, 4 bytes of step
    and origin; a value costs ``bits`` and, for each token and ``VALUE_GROUP`` channels, 3 bytes
    (4 with 8 bits).

    Args:
        bits: 8 or 4.
    """

    def __init__(self, bits: int) -> None:
        if bits not in (4, 8):
            raise ConfigError(f"asked for whole numbers of {bits} bits; there are int8 and int4")
        self.name = f"int{bits}"
        self.bits = float(bits)
        self._bits = bits
        self._value_origins = torch.int8 if bits == 4 else torch.int16

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None = None) -> Encoded:
        """Write a cache; every number is off by at most half a step of its group.

        Raises:
            ConfigError: If a number is not finite, or ``inv_freq`` is missing.
        """
        check_finite(cache, self.name)
        body, sinks = split_sinks(cache)
        frequencies = need_frequencies(inv_freq, self.name)
        keys = to_grid(
            still_keys(body, inv_freq=frequencies),
            dim=_ANCHORS,
            group=KEY_GROUP,
            bits=self._bits,
            origin_dtype=torch.int16,
        )
        values = to_grid(
            body.values.float(),
            dim=_CHANNELS,
            group=VALUE_GROUP,
            bits=self._bits,
            origin_dtype=self._value_origins,
        )
        return Encoded(
            codec=self.name,
            bits=self.bits,
            tensors={
                **keys.tensors("keys", bits=self._bits),
                **values.tensors("values", bits=self._bits),
                "positions": cache.positions.to(torch.int32),
                "inv_freq": frequencies,
                **sinks,
            },
            note=dtype_note(cache),
            **describe(cache),
        )

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Give keys and values back, the keys turned to their places."""
        tensors = encoded.tensors
        positions = tensors["positions"].to(torch.int64)
        still = from_grid(Gridded.of(tensors, "keys", bits=self._bits), dim=_ANCHORS)
        values = from_grid(Gridded.of(tensors, "values", bits=self._bits), dim=_CHANNELS)
        return rebuild(
            encoded,
            keys=placed_keys(still, positions, inv_freq=tensors["inv_freq"]),
            values=values,
            positions=positions,
        )

    def anchor_bytes(self, *, layers: int, heads: int, head_dim: int, num_anchors: int) -> float:
        """Give the payload of one anchor, its share of steps and origins included.

        Args:
            layers: L.
            heads: G.
            head_dim: K.
            num_anchors: Of the text; the more, the smaller the share.
        """
        share = 4 * num_groups(num_anchors, KEY_GROUP) / num_anchors
        keys = head_dim * (self._bits / 8 + share)
        per_group = 2 + self._value_origins.itemsize
        values = head_dim * self._bits / 8 + per_group * num_groups(head_dim, VALUE_GROUP)
        return layers * heads * (keys + values) + 4
