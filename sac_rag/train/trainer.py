"""transformers' ``Trainer`` around a training module: steps, checkpoints, resume, many processes.

The loop, distribution (accelerate), gradient accumulation and logging are the library's. Ours is
what a checkpoint holds: the adapter, not the frozen base.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from sac_rag.errors import ConfigError
from sac_rag.train.module import TrainingModule
from sac_rag.train.ratios import ratio_of_step
from sac_rag.train.recipe import OptimSettings, Recipe
from sac_rag.train.samples import Sample

LEARNED_FILE = "learned.safetensors"
RUN_FILE = "run.json"


class SACTrainer(Trainer):
    """Saves and loads what is learned; schedules as the authors do."""

    def __init__(
        self, *args: Any, optim: OptimSettings, ratios: Sequence[int] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._optim = optim
        self._ratios = ratios
        self._tokens_seen = 0

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

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Run the module; count the tokens that it read."""
        seed, step = self.args.seed, self.state.global_step
        outputs = model(inputs["samples"], ratio=ratio_of_step(self._ratios, seed=seed, step=step))
        self._tokens_seen += sum(sample.num_tokens for sample in inputs["samples"])
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        module = _unwrapped(self)
        temporary = folder / f".{LEARNED_FILE}.{os.getpid()}"
        save_file(learned_weights(module), temporary)
        temporary.replace(folder / LEARNED_FILE)
        module.adapter.save_pretrained(folder / "adapter")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        stored = load_file(Path(resume_from_checkpoint) / LEARNED_FILE)
        own = dict(_unwrapped(self).named_parameters())
        with torch.no_grad():
            for name, weight in stored.items():
                own[name].copy_(weight)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the tokens that this process has read."""
        super().log({**logs, "tokens_seen": self._tokens_seen}, *args, **kwargs)


class History(TrainerCallback):
    """Writes every log line to ``history.jsonl`` of the run, the first process alone."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write one line."""
        if state.is_world_process_zero and logs:
            with (Path(args.output_dir) / "history.jsonl").open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": state.global_step, **logs}) + "\n")


def learned_weights(module: TrainingModule) -> dict[str, torch.Tensor]:
    """Give what is learned by name."""
    return {
        name: weight.detach().cpu().contiguous()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def make_trainer(
    module: TrainingModule, samples: Dataset | Sequence[Sample], recipe: Recipe
) -> SACTrainer:
    """Make the trainer of one run.

    Raises:
        ConfigError: If the batch cannot be split over processes, or the folder holds another run.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accumulate, rest = divmod(recipe.batch, recipe.micro_batch * processes)
    if rest or not accumulate:
        raise ConfigError(
            f"batch={recipe.batch} cannot be split into {processes} processes of "
            f"micro_batch={recipe.micro_batch}; make it a multiple of their product"
        )
    _claim(Path(recipe.out), recipe)
    arguments = TrainingArguments(
        output_dir=recipe.out,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=recipe.optim.clip,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        remove_unused_columns=False,
        report_to=os.environ.get("SAC_RAG_REPORT_TO", "none"),
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=True,
        disable_tqdm=None,
    )
    return SACTrainer(
        model=module,
        args=arguments,
        train_dataset=samples,  # type: ignore[arg-type]
        data_collator=lambda rows: {"samples": rows},
        callbacks=[History()],
        optim=recipe.optim,
        ratios=recipe.compress.ratios,
    )


def last_checkpoint(folder: str | Path) -> str | None:
    """Find the newest whole checkpoint of a run; one that was cut while written is passed over."""
    found = sorted(
        (int(path.name.removeprefix("checkpoint-")), path)
        for path in Path(folder).glob("checkpoint-*")
        if (path / LEARNED_FILE).is_file() and (path / "trainer_state.json").is_file()
    )
    return str(found[-1][1]) if found else None


def _claim(folder: Path, recipe: Recipe) -> None:
    """Mark the folder as this run's; refuse one that holds another's."""
    folder.mkdir(parents=True, exist_ok=True)
    path, identity = folder / RUN_FILE, recipe.identity()
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8")).get("identity")
        if found != identity:
            raise ConfigError(
                f"{folder} holds another run (its recipe differs); give another out=, or delete it"
            )
        return
    temporary = folder / f".{RUN_FILE}.{os.getpid()}"
    temporary.write_text(json.dumps({"identity": identity}) + "\n", encoding="utf-8")
    temporary.replace(path)


def _unwrapped(trainer: Trainer) -> TrainingModule:
    return trainer.accelerator.unwrap_model(trainer.model)  # type: ignore[return-value]
