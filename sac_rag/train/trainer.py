"""The trainer of one run: a recipe's settings as transformers' arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import TrainingArguments

from sac_rag.errors import ConfigError, MissingDependencyError
from sac_rag.train.checkpoints import claim
from sac_rag.train.loop import SACTrainer
from sac_rag.train.module import TrainingModule
from sac_rag.train.progress import History
from sac_rag.train.recipe import Recipe
from sac_rag.train.samples import Sample
from sac_rag.train.sharding import sharding_arguments


def make_trainer(
    module: TrainingModule,
    samples: Dataset | Sequence[Sample],
    recipe: Recipe,
    *,
    held_out: Dataset | Sequence[Sample] | None = None,
) -> SACTrainer:
    """Make the trainer of one run.

    Args:
        module: What is trained.
        samples: What it is trained on, in order.
        recipe: The run's settings.
        held_out: What it is measured on; None for nothing.

    Raises:
        ConfigError: If the batch cannot be split over processes, or the folder holds another run.
        MissingDependencyError: If ``report_to`` names an integration that is not installed.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    layer = module.adapter.backbone.decoder.layers[0]
    sharding = sharding_arguments(layer, processes=processes) if recipe.fsdp else {}
    accumulate = _micro_batches(recipe, processes)
    claim(Path(recipe.out), recipe)
    arguments = TrainingArguments(
        output_dir=recipe.out,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=recipe.optim.clip,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=2,
        eval_strategy="no" if held_out is None else "steps",
        eval_steps=recipe.eval_every,
        seed=recipe.seed,
        remove_unused_columns=False,
        report_to=list(recipe.report_to) or "none",
        run_name=recipe.run_name or None,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=True,
        disable_tqdm=None,
        **sharding,
    )
    with _integrations(recipe.report_to):
        return SACTrainer(
            module,
            recipe,
            arguments,
            train_dataset=samples,  # type: ignore[arg-type]
            eval_dataset=held_out,  # type: ignore[arg-type]
            data_collator=lambda rows: {"samples": rows},
            callbacks=[History()],
        )


def _micro_batches(recipe: Recipe, processes: int) -> int:
    accumulate, rest = divmod(recipe.batch, recipe.micro_batch * processes)
    if rest or not accumulate:
        raise ConfigError(
            f"batch={recipe.batch} cannot be split into {processes} processes of "
            f"micro_batch={recipe.micro_batch}; make it a multiple of their product"
        )
    return accumulate


@contextmanager
def _integrations(report_to: Sequence[str]) -> Iterator[None]:
    """Turn transformers' refusals of ``report_to`` into ours."""
    try:
        yield
    except RuntimeError as error:
        if "to be installed" not in str(error):
            raise
        raise MissingDependencyError(f"report_to={list(report_to)}: {error}") from error
    except ValueError as error:
        if "is not supported, only" not in str(error):
            raise
        raise ConfigError(f"report_to={list(report_to)}: {error}") from error
