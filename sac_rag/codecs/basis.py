"""The axes that a model's keys and values vary along, fitted once on sample anchors.

KVTC (ICLR 2026) codes KV caches so: principal components, few bits for those that vary little,
entropy coding. Here every component has the same step, which for a given error is the best split of
bits (reverse water-filling), and the entropy coder turns small spread into few bits. No component
is dropped: a text unlike the sample takes more bytes, and its error stays half a step.

Shapes: L layers, C = G * K components (all key/value heads of a layer), 2 for keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.codecs.names import PCA_FILE
from sac_rag.codecs.still import still_keys
from sac_rag.errors import ConfigError, IncompatibleCacheError, StoreFormatError
from sac_rag.sealed import read_note, read_tensors, seal

BASIS_VERSION = 1

_GAUSS = 2 * math.pi * math.e
"""The entropy of a normal spread s on a grid of step d is near log2(2 pi e (s / d)^2) / 2 bits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PCABasis:
    """Where keys and values lie, and along which axes they vary."""

    means: Tensor
    """(2, L, C) float32, of keys at position 0 and of values."""
    axes: Tensor
    """(2, L, C, C) float32: orthonormal columns, those of most spread first."""
    spreads: Tensor
    """(2, L, C) float32: standard deviations along them."""
    steps: Tensor
    """(2, L) float32: of the grid that components are rounded to."""
    inv_freq: Tensor
    """The model's RoPE frequencies, (K / 2,)."""
    heads: int
    """G."""
    fingerprint: str
    """Of the compressor whose anchors it was fitted on."""
    bits: float
    """Of a number, as the steps were chosen for; the bytes of an entry say the real count."""

    @cached_property
    def id(self) -> str:
        """Hash of all of it: what entries name."""
        return sha256(self.to_bytes()).hexdigest()[:32]

    def with_bits(self, bits: float) -> PCABasis:
        """Give the same axes with steps for another number of bits.

        Raises:
            ConfigError: If ``bits`` is not positive.
        """
        return PCABasis(**{**self._fields(), "steps": _steps(self.spreads, bits), "bits": bits})

    def kept_variance(self, caches: Sequence[AnchorCache]) -> tuple[float, float]:
        """Measure how much of the variance of (keys, values) is left when they are rounded.

        Args:
            caches: Of the compressor that it was fitted on; the sample itself, or others. Taken
                one at a time.

        Returns:
            1 less the squared error in parts of the spread about the basis' means, from 0 to 1 but
            for texts so unlike the sample that their error outweighs them.
        """
        error, spread = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for cache in caches:
            parts = samples_of(cache, inv_freq=self.inv_freq) - self.means[:, :, None]
            parts = torch.einsum("slac,slcd->slda", parts, self.axes)
            steps = self.steps[..., None, None]
            lost = parts - torch.round(parts / steps) * steps
            error += lost.double().square().sum(dim=(1, 2, 3))
            spread += parts.double().square().sum(dim=(1, 2, 3))
        keys, values = (1 - error / spread.clamp_min(torch.finfo(torch.float64).tiny)).tolist()
        return keys, values

    def to_bytes(self) -> bytes:
        """Write it, with a checksum."""
        fields = self._fields()
        tensors = {n: value for n, value in fields.items() if isinstance(value, Tensor)}
        note = {n: value for n, value in fields.items() if not isinstance(value, Tensor)}
        return seal(tensors, {"format_version": BASIS_VERSION, "kind": "pca basis", **note})

    @classmethod
    def from_bytes(cls, blob: bytes) -> PCABasis:
        """Read what ``to_bytes`` wrote.

        Raises:
            CorruptEntryError: If a byte differs from what was written.
            StoreFormatError: If it is something else, or of another version.
        """
        note = read_note(blob)
        if (note.get("kind"), note["format_version"]) != ("pca basis", BASIS_VERSION):
            raise StoreFormatError(
                f"asked for a PCA basis of version {BASIS_VERSION}, found {note.get('kind')!r} of "
                f"version {note['format_version']}; fit a new one with `sac-rag store fit-basis`"
            )
        about = {name: note[name] for name in ("heads", "fingerprint", "bits")}
        return cls(**read_tensors(blob), **about)

    def save(self, path: str | Path) -> Path:
        """Write it to a file, or as ``sac_pca.safetensors`` into a folder; return the file."""
        file = _file(path)
        file.write_bytes(self.to_bytes())
        return file

    @classmethod
    def load(cls, path: str | Path) -> PCABasis:
        """Read a file that ``save`` wrote, or the one in a folder.

        Raises:
            ConfigError: If there is none.
            CorruptEntryError: If it is damaged.
        """
        file = _file(path)
        if not file.is_file():
            raise ConfigError(
                f"asked for a PCA basis at {file}: there is no such file; fit one with "
                "`sac-rag store fit-basis`, or with sac_rag.codecs.fit_pca and save it there"
            )
        return cls.from_bytes(file.read_bytes())

    def _fields(self) -> dict:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def fit_pca(caches: Sequence[AnchorCache], *, inv_freq: Tensor, bits: float = 2.0) -> PCABasis:
    """Fit a basis on the anchors of sample texts.

    Give several times C = G * K anchors, of texts like those to be stored: fewer than that and
    unseen texts take more bytes than ``bits`` says. The basis itself takes 8 L C^2 bytes.

    Args:
        caches: As the compressor made them.
        inv_freq: The model's RoPE frequencies, (K / 2,), in radians per token.
        bits: Of a number, on average over the sample.

    Raises:
        ConfigError: If there are fewer than two anchors, or ``bits`` is not positive.
        IncompatibleCacheError: If the caches come from several compressors.
    """
    fingerprints = {cache.fingerprint for cache in caches}
    if len(fingerprints) > 1:
        raise IncompatibleCacheError(
            f"asked to fit one basis on caches of {len(fingerprints)} compressors; give "
            "those of one"
        )
    if sum(map(len, caches)) < 2:
        raise ConfigError(
            f"asked to fit a basis on {sum(map(len, caches))} anchors; give the anchors of a few "
            "dozen texts"
        )
    frequencies = inv_freq.detach().cpu()
    samples = [samples_of(cache, inv_freq=frequencies) for cache in caches]
    means, axes, spreads = _principal_axes(torch.cat(samples, dim=2))
    return PCABasis(
        means=means,
        axes=axes,
        spreads=spreads,
        steps=_steps(spreads, bits),
        inv_freq=frequencies,
        heads=caches[0].keys.shape[1],
        fingerprint=caches[0].fingerprint,
        bits=bits,
    )


def samples_of(cache: AnchorCache, *, inv_freq: Tensor) -> Tensor:
    """Give still keys and values with the heads of a layer side by side, (2, L, A, C) float32."""
    both = torch.stack((still_keys(cache, inv_freq=inv_freq), cache.values.float()))
    return both.transpose(2, 3).flatten(3).cpu()


def _principal_axes(samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    means = samples.mean(dim=2)
    axes, spreads = torch.empty(*means.shape, means.shape[2]), torch.empty_like(means)
    for kind in range(2):
        for layer in range(means.shape[1]):  # one at a time: float64 of all would fill the memory
            centred = (samples[kind, layer] - means[kind, layer]).double()
            variances, columns = torch.linalg.eigh(centred.T @ centred / len(centred))
            axes[kind, layer] = columns.flip(1)
            spreads[kind, layer] = variances.flip(0).clamp_min(0).sqrt()
    return means, axes, spreads


def _steps(spreads: Tensor, bits: float) -> Tensor:
    """Find the step of each layer at which its components take ``bits`` on average: by halving."""
    if not bits > 0:
        raise ConfigError(f"asked for a PCA codec of {bits} bits a number; give more than 0")
    spreads = spreads.double()
    widest = spreads.amax(dim=2).clamp_min(torch.finfo(torch.float32).tiny)
    low, high = (widest * 2.0**-40).log(), (widest * 2.0**20).log()
    for _ in range(60):
        middle = (low + high) / 2
        taken = torch.log2(1 + _GAUSS * (spreads / middle.exp()[..., None]) ** 2).mean(dim=2) / 2
        low, high = torch.where(taken > bits, middle, low), torch.where(taken > bits, high, middle)
    return high.exp().float().clamp_min(torch.finfo(torch.float32).tiny)


def _file(path: str | Path) -> Path:
    return Path(path) / PCA_FILE if Path(path).is_dir() else Path(path)
