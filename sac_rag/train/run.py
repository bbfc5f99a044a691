"""One stage, from a recipe to an adapter."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import asdict
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
    prepare_pretraining,
    prepare_qa,
    shuffled,
)
from sac_rag.engine.loading import load_base
from sac_rag.errors import AdapterMismatchError, ConfigError, DataError
from sac_rag.tokens import Tokens
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.recipe import LoraSettings, Recipe
from sac_rag.train.samples import Sample
from sac_rag.train.trainer import last_checkpoint, make_trainer

logger = logging.getLogger(__name__)


class Samples(Dataset):
    """Prepared rows as samples; with distractors, documents of other rows are joined to each."""

    def __init__(self, rows: Any, *, order: Sequence[int], distractors: int, seed: int) -> None:
        self._rows, self._order = rows, order
        self._distractors, self._seed = distractors, seed

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Sample:
        sample = _sample(self._rows[self._order[index]])
        if not self._distractors:
            return sample
        # drawn from the sample's own number: the same whoever asks, and after a resume
        draw = random.Random(f"{self._seed}:{index}")
        count = len(self._order)
        steps = draw.sample(range(1, count), k=min(self._distractors, count - 1))
        others = [(index + step) % count for step in steps]  # each once, never the sample itself
        documents = [
            *sample.documents,
            *(_sample(self._rows[self._order[other]]).documents[0] for other in others),
        ]
        draw.shuffle(documents)
        return Sample(documents=tuple(documents), prompt=sample.prompt, target=sample.target)


def run_stage(recipe: Recipe, *, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Train one stage; go on from its last checkpoint, if there is one.

    Args:
        recipe: What is trained.
        callbacks: Told of every step, as transformers has them.

    Returns:
        The folder of the adapter.

    Raises:
        ConfigError: If the recipe does not fit itself, its folder or the number of processes.
        AdapterMismatchError: If the adapter to start from is for another base, ratio or method.
        DataError: If there are too few samples, or too many bad records.
    """
    torch.manual_seed(recipe.seed)
    model, tokens = load_base(recipe.model, dtype=recipe.precision)
    adapter = _adapter(recipe, model, tokens)
    learned = make_trainable(adapter)
    samples = _samples(recipe, tokens, adapter)
    if len(samples) < recipe.batch:
        raise DataError(
            f"{len(samples)} samples were found, a step takes {recipe.batch}; give more data, "
            "a smaller batch=, or wider data.min_tokens and data.max_tokens"
        )
    logger.info("%s weights learn from %s samples", f"{learned:,}", f"{len(samples):,}")
    module = TrainingModule(adapter, weights=asdict(recipe.objectives))
    trainer = make_trainer(module, samples, recipe)
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=last_checkpoint(recipe.out))
    out = Path(recipe.out) / "adapter"
    if trainer.is_world_process_zero():
        adapter.save_pretrained(out)
    if torch.distributed.is_initialized():
        # together: a process that leaves while another still talks to it takes that one down
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return out


def _adapter(recipe: Recipe, model: Any, tokens: Tokens) -> Adapter:
    if not recipe.adapter:
        made = Adapter.create(
            model,
            compress=recipe.compress,
            lora=_lora(recipe.lora),
            base_model=recipe.model,
            method=recipe.method,
            tokens=tokens,
        )
        if recipe.lora.init == "released":
            _initialise_as_released(made, rank=recipe.lora.rank)
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
    return made


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


def _samples(recipe: Recipe, tokens: Tokens, adapter: Adapter) -> Samples:
    data, limit = recipe.data, recipe.data.limit or None
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
            min_tokens=data.min_tokens, max_tokens=data.max_tokens, limit=limit
        )
        prepared = prepare_pretraining(
            data.train, tokens=tokens, settings=bounds, max_bad=data.max_bad
        )
    for name, count in prepared.left_out.items():
        logger.info("%s records were left out: %s", f"{count:,}", name)
    return Samples(
        prepared.dataset,
        # limited behind the shuffle, as the authors do: the head of MRQA is one of its sets
        order=shuffled(len(prepared.dataset), seed=recipe.seed)[:limit],
        distractors=data.distractors,
        seed=recipe.seed,
    )


def _sample(row: dict[str, Any]) -> Sample:
    if "question_ids" in row:
        return Sample(
            documents=tuple(row["context_ids"]),
            prompt=row["question_ids"],
            target=row["answer_ids"],
        )
    return Sample(documents=(row["context_ids"],), target=row["target_ids"])
