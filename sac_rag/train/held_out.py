"""How well what follows a compressed text is predicted, on samples that are not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sac_rag.train.samples import Sample


def continuation_metrics(
    losses: Callable[[Sequence[Sample]], Tensor],
    samples: Any,
    *,
    micro_batch: int,
    process: int,
    processes: int,
    total: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """Measure held-out samples, each process its share of them.

    Args:
        losses: Gives each sample's mean loss, (B,).
        samples: A sequence of ``Sample``; sample i is measured by process i modulo their number.
        micro_batch: Samples measured together.
        process: This process.
        processes: How many there are.
        total: Adds a tensor up over all processes.

    Returns:
        ``eval_loss``: mean over samples of the mean over their tokens, as the training loss is;
        ``eval_perplexity``: e to the mean over all tokens.
    """
    device = None
    sums = torch.zeros(3, dtype=torch.float64)  # of losses, of tokens' losses, of tokens
    rounds = math.ceil(len(samples) / (processes * micro_batch))
    for index in range(rounds):
        first = index * processes * micro_batch + process
        mine = range(first, min(first + processes * micro_batch, len(samples)), processes)
        # a process without samples goes along with one that is not counted: shards are gathered
        # by all of them together
        batch = [samples[one] for one in mine] or [samples[0]]
        with torch.no_grad():
            found_B = losses(batch).double()
        device = found_B.device
        if mine:
            lengths_B = torch.tensor([len(sample.target) for sample in batch], dtype=torch.float64)
            found_B = found_B.cpu()
            sums += torch.stack([found_B.sum(), (found_B * lengths_B).sum(), lengths_B.sum()])
    loss, of_tokens, num_tokens = total(sums.to(device, torch.float32)).tolist()
    return {
        "eval_loss": loss / len(samples),
        "eval_perplexity": math.exp(min(of_tokens / num_tokens, 700.0)),
    }
