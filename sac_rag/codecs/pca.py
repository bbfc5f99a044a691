"""Anchors for cold storage: components along fitted axes, rounded, entropy coded.

Shapes: L layers, G key/value heads, A anchors, K head dimension, C = G * K components.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.base import Encoded, check_finite, describe
from sac_rag.codecs.basis import PCABasis, samples_of
from sac_rag.codecs.entropy import pack_integers, unpack_integers
from sac_rag.codecs.names import PCA
from sac_rag.codecs.sinks import dtype_note, rebuild, split_sinks
from sac_rag.codecs.still import placed_keys
from sac_rag.errors import ConfigError, IncompatibleCacheError

_LARGEST = 2**30


class PCACodec:
    """Writes what ``fit_pca`` found worth its bits.

    Args:
        basis: Fitted on anchors of the compressor whose caches it shall write.
    """

    name = PCA

    def __init__(self, basis: PCABasis) -> None:
        self.basis = basis
        self.bits = float(basis.bits)
        # Components of like spread side by side, over all layers: the entropy coder adapts.
        relative = (basis.spreads / basis.steps[..., None]).flatten()
        self._order = relative.argsort(descending=True, stable=True)

    def encode(self, cache: AnchorCache, *, inv_freq: Tensor | None = None) -> Encoded:
        """Write a cache; every component is off by at most half a step.

        Raises:
            ConfigError: If a number is not finite, or beyond anything the basis was fitted on.
            IncompatibleCacheError: If the basis is another compressor's, or another model's.
        """
        check_finite(cache, self.name)
        self._check_own(cache)
        body, sinks = split_sinks(cache)
        samples = samples_of(body, inv_freq=self.basis.inv_freq)
        parts = torch.einsum("slac,slcd->slda", samples - self._means, self.basis.axes)
        codes = torch.round(parts / self.basis.steps[..., None, None])
        if codes.numel() and codes.abs().max() > _LARGEST:
            raise ConfigError(
                f"codec 'pca' cannot write {cache!r}: it lies {codes.abs().max():,.0f} steps from "
                "what its basis was fitted on; fit one on texts like this, or use int8"
            )
        gaps = torch.diff(cache.positions.cpu(), prepend=torch.zeros(1, dtype=torch.int64))
        stream = pack_integers(torch.cat((codes.flatten(0, 2)[self._order].flatten(), gaps)))
        return Encoded(
            codec=self.name,
            bits=self.bits,
            tensors={"stream": torch.frombuffer(bytearray(stream), dtype=torch.uint8), **sinks},
            note={"basis": self.basis.id, **dtype_note(cache)},
            **describe(cache),
        )

    def decode(self, encoded: Encoded) -> AnchorCache:
        """Give keys and values back, the keys turned to their places."""
        basis = self.basis
        sinks = encoded.tensors.get("sink_keys")
        num_anchors = encoded.num_anchors - (0 if sinks is None else sinks.shape[2])
        _, layers, components = basis.means.shape
        numbers = unpack_integers(
            encoded.tensors["stream"].numpy().tobytes(),
            count=basis.means.numel() * num_anchors + encoded.num_anchors,
        )
        codes, gaps = numbers.tensor_split([basis.means.numel() * num_anchors])
        parts = torch.empty(len(self._order), num_anchors)
        parts[self._order] = codes.float().reshape(parts.shape)
        parts = parts.reshape(2, layers, components, num_anchors) * basis.steps[..., None, None]
        samples = torch.einsum("slda,slcd->slac", parts, basis.axes) + self._means
        still, values = samples.unflatten(3, (basis.heads, -1)).transpose(2, 3)
        positions = gaps.cumsum(0)
        return rebuild(
            encoded,
            keys=placed_keys(still, positions, inv_freq=basis.inv_freq),
            values=values,
            positions=positions,
        )

    @property
    def _means(self) -> Tensor:
        return self.basis.means[:, :, None]

    def _check_own(self, cache: AnchorCache) -> None:
        basis = self.basis
        layers, heads, _, head_dim = cache.keys.shape
        shape = (layers, heads, head_dim)
        fitted = (basis.means.shape[1], basis.heads, basis.means.shape[2] // basis.heads)
        if cache.fingerprint != basis.fingerprint or shape != fitted:
            raise IncompatibleCacheError(
                f"the PCA basis was fitted on anchors of compressor {basis.fingerprint[:12]} with "
                f"(layers, heads, head dim) {fitted}; these are of {cache.fingerprint[:12]} with "
                f"{shape}; fit one on theirs with `sac-rag store fit-basis`"
            )
