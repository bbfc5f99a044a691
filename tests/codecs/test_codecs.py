"""What every codec owes: the cache comes back in form, and off by what it promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.anchor_cache import AnchorCache, cat
from sac_rag.codecs import Encoded, check_codec_name, decode, decode_bytes, get_codec
from sac_rag.errors import ConfigError, CorruptEntryError, SACError, StoreFormatError
from tests.codecs.conftest import ALL, GRID, LOSSY, anchors, frequencies, still

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SHAPES = st.fixed_dictionaries(
    {
        "num_anchors": st.integers(0, 140),
        "layers": st.integers(1, 3),
        "heads": st.integers(1, 2),
        "head_dim": st.sampled_from([2, 8, 66]),
        "seed": st.integers(0, 3),
        "scale": st.sampled_from([1e-20, 1e-3, 1.0, 1e3, 1e20]),
        "start": st.sampled_from([0, 1, 50_000]),
    }
)


def through(codec, cache):
    """Encode, write, read, decode: as a store does."""
    inv_freq = frequencies(cache.keys.shape[3])
    blob = codec.encode(cache, inv_freq=inv_freq).to_bytes()
    basis = getattr(codec, "basis", None)
    return decode_bytes(blob, find_basis={getattr(basis, "id", ""): basis}.get)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_anchors", [0, 1, 7, 300])
def test_form_comes_back(codec_of, name, dtype, num_anchors):
    cache = replace(anchors(num_anchors, dtype=dtype), span=4321)
    back = through(codec_of(name), cache)
    assert back.keys.shape == back.values.shape == cache.keys.shape
    assert back.keys.dtype == back.values.dtype == dtype
    assert torch.equal(back.positions, cache.positions)
    assert back.positions.dtype == torch.int64
    assert (back.num_tokens, back.span) == (cache.num_tokens, 4321)
    assert back.fingerprint == cache.fingerprint


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exact_writes_what_a_cache_writes(dtype):
    cache = anchors(dtype=dtype)
    assert get_codec("exact").encode(cache).to_bytes() == cache.to_bytes()
    back = decode_bytes(cache.to_bytes())
    assert torch.equal(back.keys, cache.keys)
    assert torch.equal(back.values, cache.values)


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_is_exact_for_what_is_half_and_rounds_the_rest(name, dtype):
    half, wide = anchors(dtype=dtype), anchors()
    assert get_codec(name).encode(half).to_bytes() == half.to_bytes()
    back = through(get_codec(name), wide)
    assert torch.equal(back.keys, wide.keys.to(dtype).float())
    assert torch.equal(back.values, wide.values.to(dtype).float())


@pytest.mark.parametrize("name", GRID)
@settings(deadline=None, max_examples=40)
@given(shape=SHAPES)
def test_no_number_is_off_by_more_than_half_a_step(name, shape):
    cache = anchors(**shape)
    codec = get_codec(name)
    inv_freq = frequencies(shape["head_dim"])
    encoded = codec.encode(cache, inv_freq=inv_freq)
    back = codec.decode(encoded)
    rounding = 4e-6 * float(cache.keys.abs().amax() if len(cache) else 0)
    for kind, before, after, dim in (
        ("keys", still(cache), still(back), 2),
        ("values", cache.values.double(), back.values.double(), 3),
    ):
        steps = encoded.tensors[f"{kind}_steps"].double()
        if not len(cache):
            assert steps.numel() == 0
            continue
        # the positions' angle is in float32 in the model's own keys: far out, it is the larger part
        for error, step in zip(
            (after - before).abs().tensor_split(steps.shape[dim], dim),
            steps.split(1, dim),
            strict=True,
        ):
            assert (error <= step / 2 * (1 + 1e-2) + rounding).all()


@settings(deadline=None, max_examples=30)
@given(
    numbers=st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=40),
    bits=st.sampled_from([4, 8]),
)
def test_any_finite_values_stay_within_half_a_step(numbers, bits):
    if len(numbers) % 2:
        numbers = numbers[:-1]
    values = torch.tensor(numbers)[None, None, None]
    cache = AnchorCache(
        keys=torch.zeros_like(values),
        values=values,
        positions=torch.tensor([3]),
        num_tokens=5,
        fingerprint="f",
    )
    codec = get_codec(f"int{bits}")
    encoded = codec.encode(cache, inv_freq=frequencies(len(numbers)))
    back = codec.decode(encoded)
    step = encoded.tensors["values_steps"].double().max()
    assert ((back.values.double() - values.double()).abs() <= step * 0.5001).all()
    assert not back.keys.any()
    # and the steps are no larger than the range asks for, but for bfloat16's rounding
    spread = max(numbers) / (2**bits - 1) - min(numbers) / (2**bits - 1)
    far = max(map(abs, numbers)) / (127 if bits == 4 else 32767)
    assert step <= max(spread, far, 1.2e-38) * (1 + 2**-7)


def test_four_more_bits_make_a_sixteenth_of_the_error():
    cache = anchors(200, head_dim=64)
    errors = [
        float((through(get_codec(one), cache).keys - cache.keys).norm() / cache.keys.norm())
        for one in ("int4", "int8")
    ]
    assert errors[0] < 0.06
    assert 14 < errors[0] / errors[1] < 20  # 255 / 15 = 17


def test_four_bits_are_four_bits():
    cache = anchors(128, layers=3, heads=2, head_dim=64)
    encoded = get_codec("int4").encode(cache, inv_freq=frequencies(64))
    assert encoded.tensors["keys"].nbytes == encoded.tensors["values"].nbytes
    assert encoded.tensors["keys"].nbytes * 8 == cache.keys.numel() * 4
    size = {"layers": 3, "heads": 2, "head_dim": 64, "num_anchors": 128}
    frequencies_too = encoded.tensors["inv_freq"].nbytes
    for name in GRID:
        codec = get_codec(name)
        encoded = codec.encode(cache, inv_freq=frequencies(64))
        assert codec.anchor_bytes(**size) * 128 + frequencies_too == encoded.nbytes


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("shift", [-2, 510, 40_000])
def test_moving_and_coding_commute(codec_of, name, shift):
    cache, codec, inv_freq = anchors(90, dtype=torch.float32), codec_of(name), frequencies(8)
    coded_then_moved = through(codec, cache).relocate(shift, inv_freq=inv_freq)
    moved_then_coded = through(codec, cache.relocate(shift, inv_freq=inv_freq))
    assert torch.equal(coded_then_moved.positions, moved_then_coded.positions)
    assert torch.equal(coded_then_moved.values, moved_then_coded.values)
    if name in ("bf16", "fp16"):  # these round the turned keys
        step = torch.finfo({"bf16": torch.bfloat16, "fp16": torch.float16}[name]).eps
        apart = (coded_then_moved.keys - moved_then_coded.keys).abs().max()
        assert apart <= 2 * step * cache.keys.abs().max()
        return
    # a number that lies on a border may fall to the other side: all others are the same
    differs = (coded_then_moved.keys - moved_then_coded.keys).abs() > 1e-4
    assert differs.float().mean() < 0.01


@pytest.mark.parametrize("name", [*GRID, "pca"])
def test_the_error_is_the_same_wherever_the_text_stood(codec_of, name):
    codec = codec_of(name)
    errors = []
    for shift in (0, 1, 777, 32_000):
        cache = anchors(120).relocate(shift, inv_freq=frequencies(8))
        errors.append(float((through(codec, cache).keys - cache.keys).norm()))
    assert max(errors) < 1.01 * min(errors)


def test_still_keys_make_smaller_steps_than_turned_ones():
    """Why keys are turned back: the same codec told that they stand still errs more."""
    cache = anchors(120, head_dim=64)
    turned = replace(cache, positions=torch.zeros_like(cache.positions) + 1)
    codec = get_codec("int4")
    error = (through(codec, cache).keys - cache.keys).norm()
    error_turned = (through(codec, turned).keys - cache.keys).norm()
    assert error < 0.8 * error_turned


@pytest.mark.parametrize("name", LOSSY)
def test_sinks_come_back_bit_for_bit(codec_of, name):
    body, sink = anchors(6), anchors(1, seed=5, scale=300.0)
    sink = replace(sink, positions=torch.zeros(1, dtype=torch.int64))
    codec = codec_of(name)
    back = through(codec, cat([sink, body]))
    assert torch.equal(back.keys[:, :, :1], sink.keys)
    assert torch.equal(back.values[:, :, :1], sink.values)
    alone = through(codec, body)
    assert torch.equal(back.keys[:, :, 1:], alone.keys)
    assert torch.equal(back.values[:, :, 1:], alone.values)
    assert torch.equal(through(codec, sink).keys, sink.keys)


@pytest.mark.parametrize("name", [*GRID, "fp16", "pca"])
def test_what_no_grid_holds_is_refused(codec_of, name):
    cache, codec = anchors(), codec_of(name)
    endless = replace(cache, values=cache.values * 1e30 if name == "fp16" else cache.values / 0)
    with pytest.raises(ConfigError, match=f"codec '{name}' cannot write"):
        codec.encode(endless, inv_freq=frequencies(8))


@pytest.mark.parametrize("name", GRID)
def test_missing_frequencies_are_told(name):
    with pytest.raises(ConfigError, match=r"give inv_freq=engine\.inv_freq"):
        get_codec(name).encode(anchors())


@pytest.mark.parametrize("name", LOSSY)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_damage_is_an_error(codec_of, name, data):
    codec = codec_of(name)
    blob = codec.encode(anchors(2), inv_freq=frequencies(8)).to_bytes()
    spot = data.draw(st.integers(0, len(blob) - 1))
    spoilt = bytearray(blob)
    spoilt[spot] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SACError):
        Encoded.from_bytes(bytes(spoilt))
    with pytest.raises(CorruptEntryError):
        Encoded.from_bytes(blob[:spot])


def test_an_unknown_codec_and_a_newer_version_are_named():
    encoded = get_codec("int4").encode(anchors(), inv_freq=frequencies(8))
    foreign = replace(encoded, codec="int3")
    with pytest.raises(StoreFormatError, match=r"codec 'int3', this sac-rag has exact, bf16"):
        decode_bytes(foreign.to_bytes())
    # what an older sac-rag, or a direct reader of caches, says of an encoded entry
    with pytest.raises(StoreFormatError, match="format version 2, this sac-rag reads 1"):
        AnchorCache.from_bytes(encoded.to_bytes())


@pytest.mark.parametrize("name", ["int3", "INT4", "", "int4:file", "pca", "pca:"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ConfigError, match="codec"):
        check_codec_name(name)
    with pytest.raises(ConfigError):
        get_codec(name)


def test_a_lost_basis_is_told(codec_of):
    codec = codec_of("pca")
    encoded = codec.encode(anchors())
    with pytest.raises(CorruptEntryError, match=f"PCA basis {codec.basis.id}, which is not here"):
        decode(encoded)
