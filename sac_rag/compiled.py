"""The encoder's pass over full chunks as one compiled graph.

Full chunks all have one shape, which is what ``torch.compile`` and CUDA graphs want: no kernel is
launched by Python, and small ones are fused. Compiling takes minutes, so it pays for bulk encoding
on a GPU, and is chosen by giving a backbone this object::

    backbone.run_encoder = CompiledEncoder(rows=64, tokens=510, mode="reduce-overhead")

Fused kernels round in another order: anchors differ from others as those of two batches do. CUDA
graphs belong to the thread that recorded them (pytorch/pytorch#123177): encode from one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sac_rag.encoder import Plan, run_encoder
from sac_rag.layer_calls import LayerCall

CAPTURING = "transformers.utils.output_capturing"


class CompiledEncoder:
    """Stands where ``run_encoder`` stands; passes of another shape, or with gradients, run plainly.

    Args:
        rows: Chunks of a batch.
        tokens: Tokens of a chunk.
        **options: For ``torch.compile``: ``mode="reduce-overhead"`` makes CUDA graphs.
    """

    def __init__(self, *, rows: int, tokens: int, **options: Any) -> None:
        self._shape = (rows, tokens)
        self._run = torch.compile(_run, fullgraph=True, dynamic=False, **options)

    def __call__(
        self, layers: Sequence[Any], embeds_BTD: Tensor, plan: Plan, call_layer: LayerCall
    ) -> tuple[Tensor, Tensor]:
        """Give the anchors' keys and values of every layer, (B, L, G, A, K) each."""
        padded = plan.whole["attention_mask"] is not None
        if embeds_BTD.shape[:2] != self._shape or padded or torch.is_grad_enabled():
            return run_encoder(layers, embeds_BTD, plan, call_layer)
        torch.compiler.cudagraph_mark_step_begin()
        with _nothing_captured(layers):
            keys, values = self._run(list(layers), embeds_BTD, plan)
        # A CUDA graph writes its next pass over what it gave.
        return keys.clone(), values.clone()


def _run(layers: Sequence[Any], embeds_BTD: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    return run_encoder(layers, embeds_BTD, plan, _directly)


def _directly(step: Any, layer: Any, *args: Any) -> Any:
    """Run a step without the layer's hooks, which a graph could not hold."""
    return step(layer, *args)


@contextmanager
def _nothing_captured(layers: Sequence[Any]) -> Iterator[None]:
    """Take off the hooks that transformers leaves behind, which no graph can hold.

    It puts them on when hidden states or attentions are first asked for, and there they stay.
    """
    taken = []
    for module in (part for layer in layers for part in layer.modules()):
        for key, hook in list(module._forward_hooks.items()):
            if getattr(hook, "__module__", "") == CAPTURING:
                taken.append((module._forward_hooks, key, module._forward_hooks.pop(key)))
    try:
        yield
    finally:
        for hooks, key, hook in taken:
            hooks[key] = hook
