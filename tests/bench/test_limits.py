"""What a device must do is counted as the device counts it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sac_rag.bench.limits import (
    copy_rate,
    encode_operations,
    matrix_rate,
    prefill_operations,
    weight_bytes,
)
from sac_rag.bench.plain import PlainModel
from sac_rag.chunking import split_chunks


def counted(run):
    """Count the operations of matrix products as torch does."""
    counter = FlopCounterMode(display=False)
    # attention written out: torch counts no fused one on the CPU
    with counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


def test_the_encoder_does_what_is_counted(subject):
    chunks = split_chunks(list(range(3, 43)), chunk_size=510)
    with torch.no_grad():
        found = counted(lambda: subject.loaded.adapter.method.compress_chunks(chunks))
    assert encode_operations(subject, [40]) == pytest.approx(found)


def test_a_prefill_does_what_is_counted_and_the_masked_half(subject):
    backbone = subject.backbone
    found = counted(lambda: PlainModel(backbone).prefill(list(range(3, 43))))
    config = backbone.config
    head = 2 * config.hidden_size * config.vocab_size
    pairs = 2 * 2 * 40 * 40 * config.hidden_size * backbone.num_layers
    assert prefill_operations(subject, 40) == pytest.approx(found - head - pairs / 2)


def test_weights_are_those_of_the_layers_and_the_head(subject):
    model = subject.backbone.causal_lm
    apart = sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if "norm" in name or "embed_tokens" in name or "lora_" in name
    )
    whole = sum(weight.numel() for weight in model.parameters())
    assert weight_bytes(subject.backbone) == 4 * (whole - apart)


def test_limits_are_positive(subject):
    assert matrix_rate(subject, seconds=0.01) > 0
    assert copy_rate(subject, seconds=0.01) > 0
