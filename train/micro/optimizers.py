"""AdamW, or Muon for the matrices; one learning rate over the run: up, level, down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

WARMUP_STEPS = 100
DECAY = 0.4
"""Last share of the steps, in which the rate falls to nothing."""
FLOOR = 0.01
"""Share of the rate that is left at the very end."""
Optimizers = list[torch.optim.Optimizer]


def adamw(model: nn.Module, lr: float) -> Optimizers:
    """Decay matrices only; fused on CUDA."""
    matrices, others = _parted(model)
    return [_adamw([(matrices, 0.1), (others, 0.0)], lr)]


def muon(model: nn.Module, lr: float) -> Optimizers:
    """Muon for the layers' matrices at AdamW's scale (arXiv:2502.16982); AdamW for the rest."""
    layers, rest = [], []
    for name, weight in model.named_parameters():
        (layers if weight.dim() == 2 and ".layers." in name else rest).append(weight)
    matrices = [weight for weight in rest if weight.dim() == 2]
    others = [weight for weight in rest if weight.dim() != 2]
    first = torch.optim.Muon(layers, lr=lr, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    return [first, _adamw([(matrices, 0.0), (others, 0.0)], lr)]


OPTIMIZERS: dict[str, Callable[[nn.Module, float], Optimizers]] = {"adamw": adamw, "muon": muon}
"""By name."""


def rate(step: int, steps: int) -> float:
    """Give the share of the learning rate at a step.

    >>> [round(rate(step, 1000), 2) for step in (0, 49, 99, 599, 800, 999)]
    [0.01, 0.5, 1.0, 1.0, 0.5, 0.01]
    """
    warmup = min(WARMUP_STEPS, max(1, steps // 4))
    left = (steps - step) / max(1, DECAY * steps)
    return min(1.0, (step + 1) / warmup) * min(1.0, max(FLOOR, left))


def set_rate(optimizers: Optimizers, lr: float) -> None:
    """Set the learning rate of every group."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr


def state_tensors(optimizers: Optimizers) -> dict[str, Tensor]:
    """Give all that the optimisers remember, by names that a file can hold."""
    return {
        f"{which}.{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for which, optimizer in enumerate(optimizers)
        for index, kept in optimizer.state_dict()["state"].items()
        for name, value in kept.items()
    }


def restore(optimizers: Optimizers, tensors: dict[str, Tensor]) -> None:
    """Give back what ``state_tensors`` gave."""
    for which, optimizer in enumerate(optimizers):
        whole = optimizer.state_dict()
        whole["state"] = {}
        for key, value in tensors.items():
            owner, index, name = key.split(".", 2)
            if int(owner) == which:
                whole["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(whole)


def _parted(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    weights = list(model.parameters())
    matrices = [weight for weight in weights if weight.dim() == 2]
    return matrices, [weight for weight in weights if weight.dim() != 2]


def _adamw(groups: Sequence[tuple[list[Tensor], float]], lr: float) -> torch.optim.Optimizer:
    fused = groups[0][0][0].is_cuda
    return torch.optim.AdamW(
        [{"params": weights, "weight_decay": decay} for weights, decay in groups],
        lr=lr,
        betas=(0.9, 0.95),
        fused=fused,
    )
