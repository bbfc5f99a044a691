"""What the device could do at most, measured, and what a measurement needs of it by arithmetic.

A multiplication and an addition are two operations. Of attention both products are counted, over
all pairs both ways, over half of them causally; softmax, norms and rotations are left out. On a CPU
a second is one of CPU time, of all threads: what others do on the machine then hardly counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from sac_rag.backbone import Backbone
from sac_rag.bench.clock import Contender, time_once, work
from sac_rag.bench.shapes import Subject
from sac_rag.layout import num_anchors


def matrix_rate(subject: Subject, *, seconds: float = 0.5) -> float:
    """Multiply square matrices in the model's precision; give operations per second of work."""
    device, dtype = subject.backbone.device, subject.backbone.dtype
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return _best(lambda: left @ right, 2.0 * size**3, subject, seconds)


def copy_rate(subject: Subject, *, seconds: float = 0.5) -> float:
    """Copy memory on the device; give bytes per second of work, read and written together."""
    device = subject.backbone.device
    nbytes = 2**30 if device.type == "cuda" else 2**27
    source = torch.zeros(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _best(lambda: target.copy_(source), 2.0 * nbytes, subject, seconds)


def _best(run: Any, amount: float, subject: Subject, seconds: float) -> float:
    """Give the best rate: a limit is what the device can do when nothing disturbs it."""
    run()
    best, ends = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < ends:
        lap = time_once(Contender(run=run), sync=subject.sync)
        best = max(best, amount / max(work([lap], on_cpu=subject.on_cpu), 1e-9))
    return best


def encode_operations(subject: Subject, lengths: Sequence[int]) -> float:
    """Count what our encoder has to do for documents.

    That is all layers but the last two; of the one before the last keys and values everywhere, and
    the rest at the anchors; of the last keys and values at the anchors.

    Args:
        subject: Model and LoRA.
        lengths: Tokens of each document.
    """
    backbone, compress = subject.backbone, subject.loaded.adapter.config.compress
    *inner, narrow, last = backbone.decoder.layers
    total = 0.0
    for length in lengths:
        for start in range(0, length, compress.chunk_size):
            tokens = min(compress.chunk_size, length - start)
            anchors = num_anchors(tokens, compress.ratio)
            total += sum(2.0 * tokens * _linear(one) for one in inner)
            total += len(inner) * _attention(backbone, tokens * tokens)
            total += 2.0 * tokens * _keys_values(narrow) + 2.0 * anchors * _linear(narrow)
            total += _attention(backbone, anchors * tokens)
            total += 2.0 * anchors * _keys_values(last)
    return total


def prefill_operations(subject: Subject, num_tokens: int) -> float:
    """Count what a plain causal prefill has to do, LM head of the last token apart, LoRA off."""
    layers = subject.backbone.decoder.layers
    linear = sum(2.0 * num_tokens * _linear(one, lora=False) for one in layers)
    return linear + len(layers) * _attention(subject.backbone, num_tokens * num_tokens / 2)


def weight_bytes(backbone: Backbone) -> int:
    """Count the bytes of weights that decoding one token reads: layers and LM head, LoRA off."""
    numbers = sum(_linear(one, lora=False) for one in backbone.decoder.layers)
    head = backbone.causal_lm.get_output_embeddings()
    return (numbers + head.weight.numel()) * backbone.dtype.itemsize  # type: ignore[union-attr]


def _keys_values(layer: Any) -> int:
    return _linear(layer.self_attn.k_proj) + _linear(layer.self_attn.v_proj)


def _attention(backbone: Backbone, pairs: float) -> float:
    return 2.0 * 2.0 * pairs * backbone.config.num_attention_heads * backbone.head_dim


def _linear(module: Any, *, lora: bool = True) -> int:
    """Count the numbers of the linear maps inside a module."""
    return sum(
        one.weight.numel()
        for name, one in module.named_modules()
        if isinstance(one, torch.nn.Linear) and (lora or "lora_" not in name)
    )
