"""Run a step of a transformer layer inside the layer's own call; once, or again in backward.

Whatever hooks a layer carries (FSDP gathers its weights there, and frees them behind it) stand
around its call. A step that reads only some of a layer, or gives more than its output, is run
there, so that weights are whole while it reads them and gradients find their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.utils.checkpoint import checkpoint

Step = Callable[..., Any]
"""From (layer, tensors ...) to tensors; calls ``layer.forward`` or parts of it, never ``layer``."""

LayerCall = Callable[..., Any]
"""From (step, layer, tensors ...) to what the step gives: ``call`` or ``call_replayed``."""


def call(step: Step, layer: nn.Module, *args: Any) -> Any:
    """Run a step as the layer's forward, between the layer's hooks."""
    shadowed = layer.__dict__.get("forward")

    def restore() -> None:
        if shadowed is not None:
            layer.forward = shadowed
        else:
            layer.__dict__.pop("forward", None)

    def inside(*given: Any) -> Any:
        restore()  # the step itself calls the forward that was there
        return step(layer, *given)

    layer.forward = inside
    try:
        return layer(*args)
    finally:
        restore()


def call_replayed(step: Step, layer: nn.Module, *args: Any) -> Any:
    """Run a step and keep its inputs alone; backward runs it again (gradient checkpointing).

    One copy of the weights is read with its LoRA on and off, and backward begins when both are
    done: the replay switches the layer's LoRA as it was. The step must leave nothing behind, or
    would leave it twice.
    """
    was_on = _lora_is_on(layer)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _lora_switched(layer, on=was_on)

    return checkpoint(call, step, layer, *args, use_reentrant=False, context_fn=contexts)


def _lora_is_on(layer: nn.Module) -> bool:
    return not any(
        part.disable_adapters for part in layer.modules() if isinstance(part, BaseTunerLayer)
    )


@contextmanager
def _lora_switched(layer: nn.Module, *, on: bool) -> Iterator[None]:
    """Switch one layer's LoRA, and back."""
    parts = [part for part in layer.modules() if isinstance(part, BaseTunerLayer)]
    other = [part for part in parts if part.disable_adapters == on]
    for part in other:
        part.enable_adapters(on)
    try:
        yield
    finally:
        for part in other:
            part.enable_adapters(not on)
