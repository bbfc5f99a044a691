"""Anchors as they are, or in half precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.base import Encoded, describe
from sac_rag.codecs.names import EXACT
from sac_rag.codecs.sinks import dtype_note, rebuild, split_sinks
from sac_rag.errors import ConfigError

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ExactCodec:
    """Writes every bit."""

    name = EXACT
    bits = math.inf

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None = None) -> Encoded:
        """Write a cache as ``AnchorCache.to_bytes`` does."""
        tensors = {"keys": cache.keys, "values": cache.values, "positions": cache.positions}
        return Encoded(codec=self.name, bits=self.bits, tensors=tensors, **describe(cache))

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Give the tensors back."""
        return AnchorCache(
            **encoded.tensors,
            num_tokens=encoded.num_tokens,
            span=encoded.span,
            fingerprint=encoded.fingerprint,
        )


class HalfCodec:
    """Rounds keys and values to 16 bits; a cache that is so already is written exactly.

    Args:
        name: ``bf16`` or ``fp16``.
    """

    bits = 16.0

    def __init__(self, name: str) -> None:
        self.name = name
        self._dtype = HALVES[name]

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None = None) -> Encoded:
        """Write a cache.

        Raises:
            ConfigError: If a finite number is beyond what the type can hold.
        """
        if cache.keys.dtype == self._dtype:
            return ExactCodec().encode(cache)
        body, sinks = split_sinks(cache)
        rounded = body.to(body.keys.device, self._dtype)
        if _overflows(body.keys, rounded.keys) or _overflows(body.values, rounded.values):
            raise ConfigError(
                f"codec {self.name!r} cannot write {cache!r}: it holds numbers beyond "
                f"{torch.finfo(self._dtype).max:,.0f}; use bf16, int8 or exact"
            )
        return Encoded(
            codec=self.name,
            bits=self.bits,
            tensors={
                "keys": rounded.keys,
                "values": rounded.values,
                "positions": cache.positions,
                **sinks,
            },
            note=dtype_note(cache),
            **describe(cache),
        )

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Give the rounded numbers in the type that they had."""
        return rebuild(
            encoded,
            keys=encoded.tensors["keys"],
            values=encoded.tensors["values"],
            positions=encoded.tensors["positions"],
        )


def _overflows(before: Tensor, after: Tensor) -> bool:
    return bool((torch.isfinite(before) & ~torch.isfinite(after)).any())
