"""What else could be kept of a context within as many places as anchors take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from sac_rag.bench.plain import Kept, PlainModel
from sac_rag.errors import MissingDependencyError

Keep = Callable[[Sequence[int], int], Kept]
"""From (context ids as the decoder would read them, places to keep) to what was kept."""

PRESSES = ("Knorm", "SnapKV", "ExpectedAttention", "Compactor", "KeyDiff", "StreamingLLM")
"""kvpress' presses that drop what they do not keep, by class name without ``Press``."""
MASKING_PRESS = "AdaKV"
"""One of those that only mask: its real bytes are those of the full cache."""


def plain_rivals(model: PlainModel, *, seed: int) -> dict[str, Keep]:
    """Give the ways that need nothing but the model.

    ``truncation`` reads the first tokens alone; ``random tokens`` reads all and keeps the keys and
    values of some at random, the same ones for the same length.
    """

    def random_tokens(context: Sequence[int], places: int) -> Kept:
        kept = model.prefill(context)
        draw = torch.Generator().manual_seed(seed + len(context))
        picked = torch.randperm(len(context), generator=draw)[:places].sort().values
        return Kept(cache=_picked(model, kept.cache, picked), next_position=len(context))

    return {
        "full": lambda context, places: model.prefill(context),
        "none": lambda context, places: model.prefill(context[:1]),
        "truncation": lambda context, places: model.prefill(context[:places]),
        "random tokens": random_tokens,
    }


def _picked(model: PlainModel, whole: DynamicCache, picked: Tensor) -> DynamicCache:
    made = DynamicCache(config=model.backbone.config)
    picked = picked.to(model.backbone.device)
    for index, layer in enumerate(whole.layers):
        made.update(layer.keys[:, :, picked], layer.values[:, :, picked], index)  # type: ignore[index]
    return made


def press_rivals(model: PlainModel) -> dict[str, Keep]:
    """Give kvpress' presses at the wanted size.

    Raises:
        MissingDependencyError: If kvpress is not installed.
    """
    if find_spec("kvpress") is None:
        raise MissingDependencyError(
            "kvpress is not installed, so its presses are not compared; it wants transformers "
            "below 5.3 and so an environment of its own: see benchmarks/README.md"
        )
    kvpress: Any = import_module("kvpress")

    def dropping(name: str) -> Callable[[float], Any]:
        return lambda share: getattr(kvpress, f"{name}Press")(compression_ratio=share)

    presses = {name: dropping(name) for name in PRESSES}
    presses[MASKING_PRESS] = lambda share: kvpress.AdaKVPress(
        kvpress.SnapKVPress(compression_ratio=share)
    )
    return {f"kvpress {name}": _pressed(model, make) for name, make in presses.items()}


def _pressed(model: PlainModel, make: Callable[[float], Any]) -> Keep:
    def keep(context: Sequence[int], places: int) -> Kept:
        # presses keep int(length * (1 - share)) tokens: half a token more lands on ``places``
        share = max(0.0, 1 - (places + 0.5) / len(context))
        with make(share)(model.model):
            return model.prefill(context)

    return keep
