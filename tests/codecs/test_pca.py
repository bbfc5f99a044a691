"""The basis: orthonormal, fitted, saved whole; the codec: half a step, near the bits asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.codecs import PCABasis, PCACodec, fit_pca, get_codec
from sac_rag.codecs.basis import samples_of
from sac_rag.codecs.entropy import pack_integers, unpack_integers
from sac_rag.errors import (
    ConfigError,
    CorruptEntryError,
    IncompatibleCacheError,
    SACError,
    StoreFormatError,
)
from tests.codecs.conftest import anchors, frequencies

INV_FREQ = frequencies(8)


@pytest.fixture(scope="module")
def basis() -> PCABasis:
    return fit_pca([anchors(250, seed=1), anchors(150, seed=2)], inv_freq=INV_FREQ, bits=3.0)


def parts_of(basis, cache):
    """Components of a cache, (2, L, A, C)."""
    samples = samples_of(cache, inv_freq=INV_FREQ) - basis.means[:, :, None]
    return samples @ basis.axes


def test_axes_are_orthonormal_and_those_of_most_spread_first(basis):
    identity = torch.eye(16).expand(2, 2, 16, 16)
    assert torch.allclose(basis.axes.mT @ basis.axes, identity, atol=1e-5)
    assert (basis.spreads.diff(dim=2) <= 0).all()
    sample = [anchors(250, seed=1), anchors(150, seed=2)]
    parts = torch.cat([parts_of(basis, one) for one in sample], dim=2)
    assert torch.allclose(parts.std(dim=2, correction=0), basis.spreads, rtol=1e-3, atol=1e-4)
    covariance = parts.mT @ parts / parts.shape[2]
    off_diagonal = covariance - torch.diag_embed(covariance.diagonal(dim1=2, dim2=3))
    assert off_diagonal.abs().max() < 1e-3 * covariance.max()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(3, 9), count=st.integers(1, 60), scale=st.sampled_from([0.0, 1.0, 50.0]))
def test_every_component_is_within_half_a_step_of_any_text(basis, seed, count, scale):
    """Also of texts unlike the sample: no component was dropped."""
    cache = anchors(count, seed=seed, scale=scale)
    codec = PCACodec(basis)
    error = parts_of(basis, codec.decode(codec.encode(cache))) - parts_of(basis, cache)
    size = max(1.0, float(cache.keys.abs().amax()))
    assert (error.abs() <= basis.steps[..., None, None] / 2 + 2e-5 * size).all()


@pytest.mark.parametrize("bits", [1.0, 2.0, 4.0])
def test_texts_like_the_sample_take_about_the_bits_asked_for(bits):
    sample = anchors(3000, seed=1)
    cache = replace(anchors(1000, seed=1), keys=sample.keys[:, :, 1000:2000])
    cache = replace(
        cache, values=sample.values[:, :, 1000:2000], positions=sample.positions[1000:2000]
    )
    codec = PCACodec(fit_pca([sample], inv_freq=INV_FREQ, bits=bits))
    taken = codec.encode(cache).nbytes * 8 / (cache.keys.numel() * 2)
    assert abs(taken - bits) < 0.35


def test_fewer_bits_are_fewer_bytes_and_more_error(basis):
    cache = anchors(100, seed=5)
    sizes, errors = [], []
    for bits in (1, 2, 3, 5, 8):
        codec = PCACodec(basis.with_bits(bits))
        encoded = codec.encode(cache)
        sizes.append(encoded.nbytes)
        errors.append(-float((codec.decode(encoded).keys - cache.keys).norm()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors)


def test_pca_takes_less_than_whole_numbers_where_channels_go_together(basis):
    """Anchors of three directions only: a basis sees it, a grid per channel does not."""
    generator = torch.Generator().manual_seed(0)

    def flat(num_anchors: int):
        mixed = torch.randn(2, 1, 3, 16, generator=torch.Generator().manual_seed(7))
        drawn = torch.randn(2, 1, num_anchors, 3, generator=generator) @ mixed
        values = drawn.unflatten(3, (2, 8)).transpose(2, 3).reshape(2, 2, num_anchors, 8)
        return replace(anchors(num_anchors), values=values)

    codec = PCACodec(fit_pca([flat(400)], inv_freq=INV_FREQ, bits=4.0))
    cache = flat(100)
    whole = get_codec("int4")
    grid = whole.encode(cache, inv_freq=INV_FREQ)
    fitted = codec.encode(cache)
    error = {
        one: float((made.values - cache.values).norm())
        for one, made in (("int4", whole.decode(grid)), ("pca", codec.decode(fitted)))
    }
    assert error["pca"] < error["int4"]
    assert fitted.nbytes < grid.nbytes


def test_a_basis_comes_back_from_its_file(basis, tmp_path):
    for where in (tmp_path, tmp_path / "mine.safetensors"):
        file = basis.save(where)
        again = PCABasis.load(where)
        assert again.id == basis.id
        assert torch.equal(again.axes, basis.axes)
        named = get_codec(f"pca:{where}").encode(anchors())
        assert named.to_bytes() == PCACodec(basis).encode(anchors()).to_bytes()
        assert file.is_file()
    assert basis.with_bits(2).id != basis.id
    with pytest.raises(ConfigError, match="no such file"):
        PCABasis.load(tmp_path / "other")


def test_a_damaged_basis_or_another_thing_is_refused(basis):
    blob = bytearray(basis.to_bytes())
    blob[-9] ^= 1
    with pytest.raises(CorruptEntryError):
        PCABasis.from_bytes(bytes(blob))
    with pytest.raises(StoreFormatError, match="PCA basis of version 1, found None"):
        PCABasis.from_bytes(anchors().to_bytes())


def test_a_foreign_compressor_is_refused(basis):
    foreign = replace(anchors(), fingerprint="cd" * 32)
    with pytest.raises(IncompatibleCacheError, match=r"fitted on .*ab.* these are of cd"):
        PCACodec(basis).encode(foreign)
    with pytest.raises(IncompatibleCacheError, match=r"\(3, 2, 8\)"):
        PCACodec(basis).encode(anchors(layers=3))
    with pytest.raises(IncompatibleCacheError, match="of 2 compressors"):
        fit_pca([anchors(), foreign], inv_freq=INV_FREQ)


def test_senseless_fits_are_refused():
    with pytest.raises(ConfigError, match="on 1 anchors"):
        fit_pca([anchors(1)], inv_freq=INV_FREQ)
    with pytest.raises(ConfigError, match="on 0 anchors"):
        fit_pca([], inv_freq=INV_FREQ)
    with pytest.raises(ConfigError, match="more than 0"):
        fit_pca([anchors()], inv_freq=INV_FREQ, bits=0)


def test_anchors_that_never_vary_are_written_all_the_same():
    same = anchors(5)
    still = replace(same, keys=torch.zeros_like(same.keys), values=torch.ones_like(same.values))
    codec = PCACodec(fit_pca([still], inv_freq=INV_FREQ))
    back = codec.decode(codec.encode(still))
    assert torch.allclose(back.values, still.values)
    assert not back.keys.any()


@settings(deadline=None)
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=200))
def test_whole_numbers_come_back(numbers):
    packed = pack_integers(torch.tensor(numbers, dtype=torch.int64))
    assert unpack_integers(packed, count=len(numbers)).tolist() == numbers
    for wrong in (len(numbers) + 1, len(numbers) - 1):
        with pytest.raises(CorruptEntryError, match="expected"):
            unpack_integers(packed, count=wrong)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_numbers_are_an_error(packed):
    with pytest.raises(SACError):
        unpack_integers(packed, count=10_000)


def test_small_numbers_take_less_than_a_bit_where_most_are_nought():
    numbers = (torch.rand(20_000, generator=torch.Generator().manual_seed(0)) < 0.05).long()
    assert len(pack_integers(numbers)) * 8 < 0.5 * 20_000  # entropy: 0.286
