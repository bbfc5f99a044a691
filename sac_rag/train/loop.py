"""transformers' ``Trainer`` as a training module needs it.

The loop, distribution (accelerate), gradient accumulation and logging are the library's. Ours is
what a checkpoint holds (the adapter, not the frozen base), the order of samples and the schedule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, OPTIMIZER_NAME_BIN, SCHEDULER_NAME

from sac_rag.errors import ConfigError
from sac_rag.train.checkpoints import (
    learned_weights,
    read_learned,
    write_adapter,
    write_learned,
    writing,
)
from sac_rag.train.held_out import continuation_metrics
from sac_rag.train.module import TrainingModule
from sac_rag.train.progress import Meter
from sac_rag.train.ratios import ratio_of_step
from sac_rag.train.recipe import Recipe
from sac_rag.train.sharding import (
    check_version,
    gather_for,
    load_optimizer_state,
    optimizer_state,
    shard_on_cpu,
    share_out,
)


class SACTrainer(Trainer):
    """Reads samples in their own order; saves and loads what is learned; schedules as the authors.

    Args:
        module: What is trained.
        recipe: The run's settings.
        args: transformers' arguments.
        **kwargs: Everything else that ``Trainer`` takes.
    """

    def __init__(
        self, module: TrainingModule, recipe: Recipe, args: TrainingArguments, **kwargs: Any
    ) -> None:
        self._module, self._recipe, self._optim = module, recipe, recipe.optim
        super().__init__(model=module, args=args, **kwargs)
        self._meter = Meter(self._total)

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator; shard on CPUs too, if that is asked for."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            shard_on_cpu(self)
        if self.is_fsdp_enabled:
            check_version(self.accelerator.state.fsdp_plugin)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make AdamW over what is learned."""
        if self.optimizer is None:
            weights = [one for one in (model or self.model).parameters() if one.requires_grad]  # type: ignore[union-attr]
            self.optimizer = torch.optim.AdamW(
                weights,
                lr=self._optim.lr,
                betas=(self._optim.betas[0], self._optim.betas[1]),
                weight_decay=self._optim.weight_decay,
            )
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Warm up linearly from 1/warmup, then stay."""
        if self.lr_scheduler is None:
            warmup = max(1, self._optim.warmup_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                lambda step: min(1.0, (step + 1) / warmup),
            )
        return self.lr_scheduler  # type: ignore[return-value]

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        # the samples are in order already; process i of W then takes micro-batches i, i + W, ...
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(dataset)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Run the module; count the tokens that it read."""
        ratios, step = self._recipe.compress.ratios, self.state.global_step
        ratio = ratio_of_step(ratios, seed=self._recipe.seed, step=step)
        outputs = model(inputs["samples"], ratio=ratio)
        self._meter.add(sum(sample.num_tokens for sample in inputs["samples"]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure the held-out samples; see ``continuation_metrics``."""
        if self.is_fsdp_enabled:
            gather_for(self._module, "continuation_losses")
        self._module.eval()
        # what is drawn here moves nothing in training
        with self._meter.outside(), torch.random.fork_rng(_cuda_devices()):
            metrics = continuation_metrics(
                self._module.continuation_losses,
                self.eval_dataset,
                micro_batch=self.args.per_device_train_batch_size,
                process=self.args.process_index,
                processes=self.args.world_size,
                total=lambda sums: self.accelerator.reduce(sums.to(self.args.device), "sum"),  # type: ignore[return-value,arg-type]
            )
        if self.is_fsdp_enabled:
            share_out(self._module)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @property
    def is_measured(self) -> bool:
        """Whether the held-out samples were measured at the step where the run stands."""
        return any(
            "eval_loss" in line and line["step"] == self.state.global_step
            for line in self.state.log_history
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the tokens that all processes have read, their rate, and the time that is left."""
        self._count()
        step, steps = self.state.global_step, self.state.max_steps
        rates = self._meter.rates(step=step, steps=steps) if "loss" in logs else {}
        seen = {"tokens_seen": self.state.num_input_tokens_seen}
        super().log({**logs, **rates, **seen}, *args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Step; the clock starts with the first."""
        self._meter.start(self.state.global_step)
        return super().training_step(*args, **kwargs)

    def _total(self, number: int) -> int:
        """Add a number up over all processes."""
        counted = torch.tensor(number, device=self.args.device)
        return int(self.accelerator.reduce(counted, "sum"))  # type: ignore[arg-type]

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter, the first process alone; all of them call this together."""
        weights = learned_weights(self._module)
        if self.args.should_save:
            with writing(folder, run=Path(self._recipe.out)):
                write_adapter(folder, self._module.adapter, weights)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what is learned, the first process alone."""
        weights = learned_weights(self._module)
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            write_learned(folder, self._module.adapter, weights)

    def _count(self) -> None:
        # part of the state that a checkpoint keeps, so that a resumed run counts on
        self.state.num_input_tokens_seen += self._meter.take()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._count()
        run = Path(str(self.args.output_dir))
        folder = run / f"checkpoint-{self.state.global_step}"
        with self._meter.outside(), writing(folder, run=run):
            super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # transformers would also write the shards of the frozen base
        state = optimizer_state(self._module, self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME_BIN)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)  # type: ignore[union-attr]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        alone = (Path(checkpoint) / OPTIMIZER_NAME).is_file()
        if alone == self.is_fsdp_enabled:
            began, now = ("without", "with") if alone else ("with", "without")
            raise ConfigError(
                f"{checkpoint} was written {began} fsdp and cannot be gone on from {now} it; "
                "go on as the run began, or give another out="
            )
        if not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        stored, schedule = (
            torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True)
            for name in (OPTIMIZER_NAME_BIN, SCHEDULER_NAME)
        )
        load_optimizer_state(self._module, self.optimizer, stored)
        self.lr_scheduler.load_state_dict(schedule)  # type: ignore[union-attr]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        read_learned(Path(resume_from_checkpoint), self._module)


def _cuda_devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []
