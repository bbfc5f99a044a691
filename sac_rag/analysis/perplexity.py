"""How well does the frozen decoder go on from anchors? Perplexity of a text's second half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sac_rag.adapter import Adapter, read_sink
from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import ConfigError, ContextOverflowError
from sac_rag.generation import Prompt
from sac_rag.train.objectives import compress_samples, predict
from sac_rag.train.samples import Sample

ROADS = ("compressed", "full", "none")


@dataclass(frozen=True, kw_only=True, eq=False)
class Perplexities:
    """Losses of N texts' continuations behind anchors, the whole text, or its BOS alone."""

    num_tokens: np.ndarray
    """Tokens predicted of each text, (N,)."""
    compressed: np.ndarray
    """Mean loss a token behind anchors, in nats, (N,)."""
    full: np.ndarray
    """The same behind the text itself: the floor."""
    none: np.ndarray
    """The same behind the text's first token alone: the ceiling."""

    def perplexity(self, road: str) -> float:
        """Give exp of the mean loss over all tokens of all texts.

        Args:
            road: ``compressed``, ``full`` or ``none``.
        """
        return float(np.exp(np.average(getattr(self, road), weights=self.num_tokens)))

    @property
    def recovered(self) -> float:
        """Share of what the text is worth, in mean loss, that its anchors give: 1 is all of it.

        Not a number for a model that reads the text for nothing.
        """
        compressed, full, none = (np.log(self.perplexity(road)) for road in ROADS)
        return float((none - compressed) / (none - full)) if none > full else float("nan")

    def summary(self) -> dict[str, Any]:
        """Give perplexities and counts."""
        counts = {"texts": len(self.num_tokens), "tokens": int(self.num_tokens.sum())}
        return {
            **counts,
            **{road: self.perplexity(road) for road in ROADS},
            "recovered": self.recovered,
        }


def continuation_perplexity(
    adapter: Adapter, samples: Sequence[Sample], *, batch_size: int = 8, bos_id: int | None = None
) -> Perplexities:
    """Measure the continuation of samples on three roads, always with the frozen decoder.

    Args:
        adapter: Any method; without a task token (a plain base model) the text's last token is read
            in plain, for something must predict the first token that follows.
        samples: Contexts and continuations.
        batch_size: Samples read together.
        bos_id: The tokenizer's BOS, for an adapter with a sink.

    Raises:
        ConfigError: If there is no sample, or no BOS for the sink.
        ContextOverflowError: If a whole text does not fit the model's window.
    """
    if not samples:
        raise ConfigError("asked for the perplexity of 0 texts; give data that holds some")
    _check_window(adapter, samples)
    sink = read_sink(adapter, bos_id)
    roads: dict[str, Callable[[Sequence[Sample]], list[Prompt]]] = {
        "compressed": lambda batch: _compressed(adapter, batch, sink),
        "full": lambda batch: [_plain(sample, _whole(sample)) for sample in batch],
        "none": lambda batch: [_plain(sample, sample.documents[0][:1]) for sample in batch],
    }
    losses: dict[str, list[np.ndarray]] = {road: [] for road in roads}
    with torch.no_grad():
        for first in range(0, len(samples), batch_size):
            batch = samples[first : first + batch_size]
            for road, prompts in roads.items():
                made = predict(adapter.method, batch, prompts(batch))
                losses[road].append(made.float().cpu().numpy())
    return Perplexities(
        num_tokens=np.array([len(sample.target) for sample in samples]),
        **{road: np.concatenate(parts) for road, parts in losses.items()},
    )


def _compressed(
    adapter: Adapter, batch: Sequence[Sample], sink: AnchorCache | None
) -> list[Prompt]:
    if adapter.config.task_token:
        task, held_back = adapter.method.task_embedding("LM"), [[] for _ in batch]
    else:
        task, held_back = None, [list(sample.documents[-1][-1:]) for sample in batch]
        batch = [_without_last(sample) for sample in batch]
    return [
        Prompt(
            token_ids=[*plain, *sample.prompt, *sample.target][:-1],
            anchors=cache,
            task_embedding=task,
        )
        for sample, plain, cache in zip(
            batch, held_back, compress_samples(adapter.method, batch, sink=sink), strict=True
        )
    ]


def _without_last(sample: Sample) -> Sample:
    *others, last = sample.documents
    return replace(sample, documents=(*others, list(last)[:-1]))


def _whole(sample: Sample) -> list[int]:
    return [token for document in sample.documents for token in document]


def _plain(sample: Sample, context: Sequence[int]) -> Prompt:
    return Prompt(token_ids=[*context, *sample.prompt, *sample.target][:-1])


def _check_window(adapter: Adapter, samples: Sequence[Sample]) -> None:
    longest, window = max(sample.num_tokens for sample in samples), adapter.backbone.window
    if longest > window:
        raise ContextOverflowError(
            f"a text has {longest} tokens with its continuation, the model reads {window} in full; "
            "give shorter texts (--max-tokens)",
            requested=longest,
            available=window,
        )
