"""One adapter at many ratios: at each it is the adapter of that ratio, with the rows by place."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from sac_rag.adapter import Adapter, SACConfig
from sac_rag.anchor_cache import AnchorCache, cat, join
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.config import CompressConfig
from sac_rag.errors import AdapterMismatchError, ConfigError
from sac_rag.layout import midpoint_indices, num_anchors, slots_of
from sac_rag.methods import METHODS
from tests.tiny import tiny_adapter, tiny_model

RATIOS = (5, 15, 51)
LEARNED = {"sac": "anchor_embeddings"}
LONG = 26
"""Chunks longer than half a run of 51: shorter ones keep their first token instead."""


def chunk_of(length: int, *, start: int = 0, ratio: int | None = None, seed: int = 0) -> Chunk:
    drawn = torch.randint(3, 264, (length,), generator=torch.Generator().manual_seed(seed))
    return Chunk(token_ids=drawn, start=start, ratio=ratio)


def assert_same(ours: AnchorCache, theirs: AnchorCache) -> None:
    assert torch.equal(ours.positions, theirs.positions)
    assert (ours.num_tokens, ours.span) == (theirs.num_tokens, theirs.span)
    torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.values, theirs.values, atol=1e-5, rtol=1e-5)


def any_ratio(method: str) -> Adapter:
    torch.manual_seed(1)
    attention = "bidirectional" if method == "sac" else "causal"
    made = Adapter.create(
        tiny_model(),
        compress=CompressConfig(ratio=15, ratios=RATIOS, attention=attention),
        lora=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        method=method,
    )
    for name, weight in made.backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    learned = getattr(made.method, LEARNED.get(method, "memory_embeddings"))
    torch.nn.init.normal_(learned, std=0.2)
    return made


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_at_a_ratio_it_is_the_plain_method_with_the_rows_by_place(method):
    made = any_ratio(method).method
    learned = LEARNED.get(method, "memory_embeddings")
    for ratio in RATIOS:
        plain_config = CompressConfig(ratio=ratio, attention=made.config.attention)
        plain = METHODS[method](made.backbone, plain_config)
        rows = slots_of(midpoint_indices(510, ratio), 5)
        getattr(plain, learned).copy_(getattr(made, learned)[rows])
        for length, start in ((510, 0), (LONG, 510), (137, 1020)):
            wanted = chunk_of(length, start=start, ratio=ratio)
            assert_same(made.compress_chunk(wanted), plain.compress_chunk(wanted))


@torch.no_grad()
def test_at_the_finest_ratio_it_is_bit_for_bit_the_plain_adapter():
    made = tiny_adapter(tiny_model(), ratios=RATIOS).method
    plain = tiny_adapter(tiny_model()).method
    assert torch.equal(made.anchor_embeddings, plain.anchor_embeddings)
    for length in (510, 1, 2, 7, 60):
        ours = made.compress_chunk(chunk_of(length))
        theirs = plain.compress_chunk(chunk_of(length))
        assert torch.equal(ours.keys, theirs.keys)
        assert torch.equal(ours.values, theirs.values)


@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_a_batch_of_many_ratios_equals_its_chunks_one_by_one(method):
    made = any_ratio(method).method
    wanted = [
        chunk_of(length, start=510 * index, ratio=ratio, seed=index)
        for index, (length, ratio) in enumerate(
            ((510, 5), (510, 51), (7, 15), (2, None), (300, 15), (1, 51), (99, 5))
        )
    ]
    for one, chunk in zip(made.compress_chunks(wanted), wanted, strict=True):
        alone = made.compress_chunk(chunk)
        assert len(one) == num_anchors(len(chunk), chunk.ratio or 15)
        assert torch.equal(one.positions, alone.positions)
        torch.testing.assert_close(one.keys, alone.keys, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.values, alone.values, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_text_of_one_anchor_is_the_same_at_every_ratio_that_keeps_its_first_token():
    made = tiny_adapter(tiny_model(), ratios=RATIOS).method
    for length in range(1, 8):
        at_15, at_51 = (made.compress_chunk(chunk_of(length, ratio=ratio)) for ratio in (15, 51))
        assert len(at_15) == 1
        assert torch.equal(at_15.keys, at_51.keys)


@pytest.mark.parametrize("kind", ["shared", "none"])
@torch.no_grad()
def test_without_slots_every_ratio_is_the_plain_method(kind):
    made = tiny_adapter(tiny_model(), ratios=RATIOS, anchor_embedding=kind)
    for ratio in RATIOS:
        plain = tiny_adapter(tiny_model(), ratio=ratio, anchor_embedding=kind)
        ours = made.method.compress_chunk(chunk_of(200, ratio=ratio))
        assert_same(ours, plain.method.compress_chunk(chunk_of(200)))


@pytest.mark.parametrize("length", [510, 100, 8])
def test_odd_multiples_nest_and_51_does_not(length):
    fine, middle, coarse, coarsest = (
        set(midpoint_indices(length, ratio).tolist()) for ratio in (5, 15, 51, 255)
    )
    assert middle <= fine
    if length == 510:
        assert coarsest <= fine & middle & coarse
        assert len(coarse & fine) == 2 < len(coarse) == 10


@torch.no_grad()
def test_caches_of_all_ratios_join(tmp_path):
    adapter = tiny_adapter(tiny_model(), ratios=RATIOS)
    made = adapter.method
    parts = [
        cat(made.compress_chunks(split_chunks(chunk_of(600).token_ids, chunk_size=510, ratio=r)))
        for r in RATIOS
    ]
    joined = join(parts, inv_freq=adapter.backbone.inv_freq)
    assert len(joined) == sum(map(len, parts))
    assert joined.num_tokens == 1800
    moved = parts[1].relocate(600, inv_freq=adapter.backbone.inv_freq)
    first = len(parts[0])
    assert torch.equal(joined.keys[:, :, first : first + len(moved)], moved.keys)


@torch.no_grad()
def test_one_folder_loads_at_each_ratio_as_one_compressor(tmp_path):
    adapter = tiny_adapter(tiny_model(), ratios=RATIOS)
    adapter.save_pretrained(tmp_path)
    prints = set()
    for ratio in RATIOS:
        loaded = Adapter.from_pretrained(tmp_path, model=tiny_model(), ratio=ratio)
        prints.add(loaded.method.fingerprint)
        assert_same(
            loaded.method.compress_chunk(chunk_of(99)),
            adapter.method.compress_chunk(chunk_of(99, ratio=ratio)),
        )
    assert prints == {adapter.fingerprint()}
    assert prints != {tiny_adapter(tiny_model(), ratio=5).fingerprint()}
    assert SACConfig.load(tmp_path) == adapter.config
    with pytest.raises(AdapterMismatchError, match=r"asked for ratio 10.*ratios 5, 15, 51"):
        Adapter.from_pretrained(tmp_path, model=tiny_model(), ratio=10)


def test_a_ratio_that_was_not_trained_is_refused():
    method = tiny_adapter(tiny_model(), ratios=RATIOS).method
    with pytest.raises(ConfigError, match=r"asked for ratio 10.*trained for 5, 15, 51"):
        method.compress_chunk(chunk_of(30, ratio=10))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ratio": 5, "ratios": (15, 51)}, "none of ratios"),
        ({"ratio": 5, "ratios": (15, 5)}, r"give \[5, 15\]"),
        ({"ratio": 5, "ratios": (5, 5)}, r"give \[5\]"),
        ({"ratio": 5, "ratios": (5, 7)}, "try chunk_size=504"),
        ({"ratio": 5, "ratios": (5, 511)}, "leaves no anchor"),
        ({"ratio": 5, "ratios": (5, "15")}, "list of whole numbers"),
        ({"ratio": 5, "ratios": 5}, "list of whole numbers"),
    ],
)
def test_senseless_ratios_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        CompressConfig(**settings)
