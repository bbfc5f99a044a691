"""One stage, from a recipe to an adapter."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch.utils.data import Dataset
from transformers import TrainerCallback

from sac_rag.adapter import Adapter
from sac_rag.data import (
    PretrainSettings,
    QASettings,
    head_and_rest,
    prepare_pretraining,
    prepare_qa,
    shuffled,
)
from sac_rag.engine.loading import load_base
from sac_rag.errors import AdapterMismatchError, ConfigError, DataError
from sac_rag.layer_calls import call_replayed
from sac_rag.tokens import Tokens
from sac_rag.train.checkpoints import last_checkpoint, read_learned, step_of
from sac_rag.train.distillation import Distillation
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import OBJECTIVES
from sac_rag.train.passes import like_lengths, together
from sac_rag.train.recipe import DataSettings, LoraSettings, Recipe
from sac_rag.train.samples import Sample
from sac_rag.train.trainer import make_trainer

logger = logging.getLogger(__name__)

_TRIES = 8
"""Samples looked at per distractor wanted, where their documents turn out to be known already."""


class Samples(Dataset):
    """Prepared rows as samples; with distractors, documents of other rows are joined to each.

    A sample's own documents, one or several, stay; all are then shuffled, so that no place tells
    which of them matter. Without distractors they keep the order of the data.

    Args:
        rows: Token ids, as they were prepared.
        order: Rows in the order in which they are read.
        data: Which distractors, how many samples are asked from afar, the seed of both.
        window: Positions that the decoder has.
    """

    def __init__(self, rows: Any, *, order: Sequence[int], data: DataSettings, window: int) -> None:
        self._rows, self._order, self._data, self._window = rows, order, data, window

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Sample:
        sample = _sample(self._rows[self._order[index]])
        # drawn from the sample's own number: the same whoever asks, and after a resume
        draw = random.Random(f"{self._data.order_seed}:{index}")
        if self._data.distractors:
            documents = [*sample.documents, *self._others(index, sample, draw)]
            draw.shuffle(documents)
            sample = replace(sample, documents=tuple(documents))
        if draw.random() < self._data.far:
            # the task token and the sink take a position each
            room = min(self._data.farthest, self._window - sample.num_tokens - 2)
            sample = replace(sample, gap=draw.randint(1, room) if room > 0 else 0)
        return sample

    def _others(self, index: int, sample: Sample, draw: random.Random) -> list[Sequence[int]]:
        """Draw one document each of other samples, no two alike: questions often share theirs."""
        count = len(self._order)
        wanted = self._data.distractors
        tries = min(_TRIES * wanted, count - 1)
        known = {tuple(document) for document in sample.documents}
        others: list[Sequence[int]] = []
        for step in draw.sample(range(1, count), k=tries):  # never the sample itself
            if len(others) == wanted:
                break
            other = draw.choice(_sample(self._rows[self._order[(index + step) % count]]).documents)
            if tuple(other) not in known:
                known.add(tuple(other))
                others.append(other)
        return others


def run_stage(recipe: Recipe, *, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Train one stage; go on from its last checkpoint, if there is one.

    Args:
        recipe: What is trained.
        callbacks: Told of every step, as transformers has them; of none if all are done already.

    Returns:
        The folder of the adapter.

    Raises:
        ConfigError: If the recipe does not fit itself, its folder or the number of processes.
        AdapterMismatchError: If the adapter to start from is for another base, ratio or method.
        DataError: If there are too few samples, or too many bad records.
        StoreWriteError: If a checkpoint or the adapter cannot be written.
    """
    torch.manual_seed(recipe.seed)
    model, tokens = load_base(recipe.model, dtype=recipe.precision)
    adapter = _adapter(recipe, model, tokens)
    if recipe.gradient_checkpointing:
        adapter.backbone.call_layer = call_replayed
    learned = make_trainable(adapter)
    samples, held_out = _samples(recipe, tokens, adapter)
    if len(samples) < recipe.batch:
        raise DataError(
            f"{len(samples)} samples were found, a step takes {recipe.batch}; give more data, "
            "a smaller batch=, or wider data.min_tokens and data.max_tokens"
        )
    logger.info("%s weights learn from %s samples", f"{learned:,}", f"{len(samples):,}")
    passes = together if recipe.fsdp else like_lengths(adapter.backbone)
    distillation = Distillation.of(adapter, tokens, temperature=recipe.distill.temperature)
    module = TrainingModule(
        adapter,
        weights=asdict(recipe.objectives),
        bos_id=tokens.bos_id,
        objectives={**OBJECTIVES, "distillation": distillation},
        passes=passes,
    )
    trainer = make_trainer(module, samples, recipe, held_out=held_out)
    for callback in callbacks:
        trainer.add_callback(callback)
    checkpoint = last_checkpoint(recipe.out)
    if checkpoint is not None and step_of(checkpoint) >= recipe.steps:
        # transformers would go on for a step
        logger.info("%s has done its %d steps", recipe.out, recipe.steps)
        read_learned(Path(checkpoint), module)
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
        if held_out is not None and not trainer.is_measured:
            trainer.evaluate()
    out = Path(recipe.out) / "adapter"
    trainer.save_adapter(out)
    return out


def _adapter(recipe: Recipe, model: Any, tokens: Tokens) -> Adapter:
    if not recipe.adapter:
        made = Adapter.create(
            model,
            compress=recipe.compress,
            lora=_lora(recipe.lora),
            base_model=recipe.model,
            method=recipe.method,
            query_aware=recipe.query_aware,
            sink=recipe.sink,
            tokens=tokens,
        )
        if recipe.lora.init == "released":
            _initialise_as_released(made, rank=recipe.lora.rank)
        made.method.to(model.dtype)  # embeddings too, as the authors'
        return made
    made = Adapter.from_pretrained(
        recipe.adapter, model=model, ratio=recipe.compress.ratio, tokens=tokens
    )
    if made.config.method != recipe.method or made.config.compress != recipe.compress:
        raise AdapterMismatchError(
            f"the adapter in {recipe.adapter} is {made.config.method} with "
            f"{made.config.compress}, the recipe asks for {recipe.method} with {recipe.compress}; "
            "make them the same"
        )
    # one that never read questions, or behind a sink, may learn to: no weight is shaped otherwise
    learned = {"query_aware": recipe.query_aware, "sink": recipe.sink}
    for name, wanted in learned.items():
        if getattr(made.config, name) and not wanted:
            raise AdapterMismatchError(
                f"the adapter in {recipe.adapter} was trained with {name}=true and the recipe is "
                f"not; set {name}=true, or start from an adapter without"
            )
    return Adapter(made.method, replace(made.config, **learned))


def _lora(settings: LoraSettings) -> LoraConfig:
    if settings.init not in ("released", "peft"):
        raise ConfigError(f"lora.init={settings.init!r} is not known; choose released or peft")
    targets = settings.targets
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear" if targets == ("all-linear",) else list(targets),
        task_type="CAUSAL_LM",
    )


def _initialise_as_released(adapter: Adapter, *, rank: int) -> None:
    """Draw every A uniformly within 1/sqrt(rank): the released code's, whose A is (in, r)."""
    with torch.no_grad():
        for name, weight in adapter.backbone.model.named_parameters():
            if "lora_A" in name:
                weight.uniform_(-(rank**-0.5), rank**-0.5)


def reading_order(recipe: Recipe, count: int) -> list[int]:
    """Say in which order samples are read; the authors shuffle questions, and no texts.

    Theirs deals questions out in contiguous runs, one per GPU; here all processes go through one
    order together, so that a step's batch does not depend on their number.
    """
    data = recipe.data
    if data.order == "shuffled" or (data.order == "authors" and recipe.objectives.qa):
        return shuffled(count, seed=data.order_seed)
    return list(range(count))


def _samples(recipe: Recipe, tokens: Tokens, adapter: Adapter) -> tuple[Samples, Samples | None]:
    """Give samples to train on, and to measure on if any are held out."""
    data = recipe.data
    wanted = data.limit + data.held_out if data.limit else None
    if recipe.objectives.qa:
        if recipe.objectives.continuation:
            raise ConfigError(
                "objectives.qa and objectives.continuation read different data; train them in two "
                "stages, as the paper does"
            )
        settings = QASettings(prompt=adapter.config.prompt)
        prepared = prepare_qa(data.train, tokens=tokens, settings=settings, max_bad=data.max_bad)
    else:
        bounds = PretrainSettings(
            min_tokens=data.min_tokens, max_tokens=data.max_tokens, limit=wanted
        )
        prepared = prepare_pretraining(
            data.train, tokens=tokens, settings=bounds, max_bad=data.max_bad
        )
    for name, count in prepared.left_out.items():
        logger.info("%s records were left out: %s", f"{count:,}", name)
    count = len(prepared.dataset)
    # limited behind the shuffle, as the authors do: the head of MRQA is one of its sets
    order = reading_order(recipe, count)[:wanted]
    head, rest = head_and_rest(len(order), head=data.held_out)

    def chosen(part: range) -> Samples:
        return Samples(
            prepared.dataset,
            order=[order[one] for one in part],
            data=data,
            window=adapter.backbone.window,
        )

    return chosen(rest), chosen(head) if head else None


def _sample(row: dict[str, Any]) -> Sample:
    if "question_ids" in row:
        return Sample(
            documents=tuple(row["context_ids"]),
            prompt=row["question_ids"],
            target=row["answer_ids"],
        )
    return Sample(documents=(row["context_ids"],), target=row["target_ids"])
