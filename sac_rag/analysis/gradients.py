"""Do autoencoding and continuation pull one way? The cosine of their gradients over training.

The SAC paper (arXiv:2510.08907, section 3) saw it drop to about 0 early and left autoencoding out;
its protocol is not published. Here both objectives are measured on the same few samples, over the
weights that both of them move: LoRA and anchor or memory embeddings, not the two task tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from sac_rag.adapter import Adapter, read_sink
from sac_rag.errors import ConfigError, InputFileError
from sac_rag.train.module import make_trainable
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.samples import Sample

PAIR = ("autoencoding", "continuation")
"""The objectives that are compared."""
LINES_FILE = "gradients.jsonl"
"""Where a training writes what it measured, in its folder."""
_LAYER = re.compile(r"\blayers\.(\d+)\.")


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientCosines:
    """Cosines at S steps of a training with L layers."""

    steps: np.ndarray
    """Optimiser steps done, (S,)."""
    cosine: np.ndarray
    """Over all shared weights, (S,)."""
    by_layer: np.ndarray
    """Over the LoRA of each layer, (S, L)."""
    norms: np.ndarray
    """Of the gradients of autoencoding and continuation, (S, 2)."""

    def summary(self) -> dict[str, Any]:
        """Give the numbers of the first and last step."""
        ends = {"first": 0, "last": -1}
        return {
            name: {"step": int(self.steps[at]), "cosine": float(self.cosine[at])}
            for name, at in ends.items()
        }


def gradient_cosines(
    adapter: Adapter, samples: Sequence[Sample], *, step: int, bos_id: int | None = None
) -> GradientCosines:
    """Measure one point of a training; the weights, and their ``grad``, stay as they are.

    Args:
        adapter: What is trained; its weights must require gradients (``make_trainable``).
        samples: What both objectives are measured on, one by one.
        step: Of the training, for the result.
        bos_id: The tokenizer's BOS, for an adapter with a sink.

    Raises:
        ConfigError: If there is no sample, nothing that learns, or no BOS for the sink.
    """
    weights = _shared_weights(adapter)
    if not samples or not weights:
        raise ConfigError(
            f"asked for gradients of {len(weights)} weights on {len(samples)} samples; give "
            "samples, and call sac_rag.train.module.make_trainable(adapter) first"
        )
    sums = {name: [torch.zeros_like(one) for one in weights.values()] for name in PAIR}
    query_aware, sink = adapter.config.query_aware, read_sink(adapter, bos_id)
    for sample in samples:
        anchors = compress_samples(adapter.method, [sample], query_aware=query_aware, sink=sink)
        for name in PAIR:
            loss = OBJECTIVES[name](adapter.method, [sample], anchors).mean()
            gradients = torch.autograd.grad(
                loss, list(weights.values()), retain_graph=name == PAIR[0], allow_unused=True
            )
            for total, gradient in zip(sums[name], gradients, strict=True):
                if gradient is not None:
                    total += gradient / len(samples)
    layers = [_LAYER.search(name) for name in weights]
    parts = [
        [index for index, found in enumerate(layers) if found and int(found[1]) == layer]
        for layer in range(adapter.backbone.num_layers)
    ]
    first, second = (sums[name] for name in PAIR)
    return GradientCosines(
        steps=np.array([step]),
        cosine=np.array([_cosine(first, second)]),
        by_layer=np.array(
            [[_cosine([first[i] for i in part], [second[i] for i in part]) for part in parts]]
        ),
        norms=np.array([[_norm(first), _norm(second)]]),
    )


def join_steps(points: Iterable[GradientCosines]) -> GradientCosines:
    """Put points together, by step; of a step measured twice the later counts."""
    by_step = {int(step): (point, row) for point in points for row, step in enumerate(point.steps)}
    chosen = [by_step[step] for step in sorted(by_step)]
    return GradientCosines(
        steps=np.array(sorted(by_step)),
        cosine=np.array([point.cosine[row] for point, row in chosen]),
        by_layer=np.array([point.by_layer[row] for point, row in chosen]),
        norms=np.array([point.norms[row] for point, row in chosen]),
    )


def measure_checkpoints(
    adapters: Iterable[tuple[int, Adapter]],
    samples: Sequence[Sample],
    *,
    bos_id: int | None = None,
) -> GradientCosines:
    """Measure saved adapters: (step, adapter) pairs, loaded one by one."""

    def points() -> Iterable[GradientCosines]:
        for step, adapter in adapters:
            make_trainable(adapter)
            yield gradient_cosines(adapter, samples, step=step, bos_id=bos_id)

    return join_steps(points())


class GradientCallback(TrainerCallback):
    """Measures while training goes on, and writes a line each time, the first process alone.

    Args:
        every: Steps between measurements; the start is one.
        num_samples: Samples of the training set, its first, that are measured on.
    """

    def __init__(self, *, every: int, num_samples: int = 8) -> None:
        self._every = every
        self._num_samples = num_samples
        self._samples: list[Sample] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Take the samples; measure the start."""
        dataset = given["train_dataloader"].dataset
        self._samples = [dataset[one] for one in range(min(self._num_samples, len(dataset)))]
        if not state.global_step:
            self._measure(args, state, given["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measure, if it is time."""
        if state.global_step % self._every == 0:
            self._measure(args, state, given["model"])

    def _measure(self, args: Any, state: Any, model: Any) -> None:
        if not state.is_world_process_zero:
            return
        module = getattr(model, "module", model)  # a distributed wrapper's own
        point = gradient_cosines(
            module.adapter, self._samples, step=state.global_step, bos_id=module.bos_id
        )
        values = ("steps", "cosine", "by_layer", "norms")
        line = {name: getattr(point, name)[0].tolist() for name in values}
        with (Path(args.output_dir) / LINES_FILE).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


def read_lines(folder: str | Path) -> GradientCosines:
    """Read what a training with ``GradientCallback`` wrote.

    Raises:
        InputFileError: If there is nothing.
    """
    path = Path(folder) / LINES_FILE
    if not path.is_file():
        raise InputFileError(
            f"{folder} holds no {LINES_FILE}: its training measured no gradients; train with "
            "`python -m sac_rag.analysis gradients --config RECIPE.yaml`"
        )
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return join_steps(
        GradientCosines(**{name: np.array([value]) for name, value in line.items()})
        for line in lines
    )


def _shared_weights(adapter: Adapter) -> dict[str, Tensor]:
    named = [*adapter.backbone.model.named_parameters(), *adapter.method.named_parameters()]
    return {
        name: weight
        for name, weight in named
        if weight.requires_grad and weight.numel() and name != "task_embeddings"
    }


def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Give the cosine; not a number where one of them is 0."""
    inner = sum(
        float((one.double() * two.double()).sum()) for one, two in zip(first, second, strict=True)
    )
    size = _norm(first) * _norm(second)
    return inner / size if size else float("nan")


def _norm(tensors: Sequence[Tensor]) -> float:
    return sum(float(one.double().square().sum()) for one in tensors) ** 0.5
