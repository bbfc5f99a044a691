"""What a run leaves on the disk: checkpoints of what is learned, whole or passed over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sac_rag.adapter import Adapter
from sac_rag.errors import ConfigError, StoreWriteError
from sac_rag.train.module import TrainingModule
from sac_rag.train.recipe import Recipe
from sac_rag.train.sharding import like, whole

LEARNED_FILE = "learned.safetensors"
RUN_FILE = "run.json"
_STATE_FILE = "trainer_state.json"  # the last that transformers writes


def learned_weights(module: TrainingModule) -> dict[str, Tensor]:
    """Give what is learned by name, on the CPU; all processes ask together if it is sharded."""
    return {
        name: whole(weight.detach()).cpu().contiguous()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def write_learned(folder: Path, adapter: Adapter, weights: Mapping[str, Tensor]) -> None:
    """Write a checkpoint's weights, and as an adapter that loads."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{LEARNED_FILE}.{os.getpid()}"
    save_file(dict(weights), temporary)
    temporary.replace(folder / LEARNED_FILE)
    write_adapter(folder / "adapter", adapter, weights)


def write_adapter(folder: Path, adapter: Adapter, weights: Mapping[str, Tensor]) -> None:
    """Write an adapter's folder, which is there as a whole or not at all."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        adapter.save_pretrained(draft, weights=weights)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_learned(checkpoint: Path, module: TrainingModule) -> None:
    """Fill a module from a checkpoint; all processes together if it is sharded."""
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, weight in load_file(checkpoint / LEARNED_FILE).items():
            own[name].copy_(like(own[name], weight))


def step_of(checkpoint: str | Path) -> int:
    """Give the optimiser step of a checkpoint's folder; -1 if it is none."""
    number = Path(checkpoint).name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() else -1


def last_checkpoint(folder: str | Path) -> str | None:
    """Find the newest whole checkpoint of a run; one that was cut while written is passed over."""
    found = [
        path for path in Path(folder).glob("checkpoint-*") if step_of(path) >= 0 and _is_whole(path)
    ]
    return str(max(found, key=step_of)) if found else None


def _is_whole(checkpoint: Path) -> bool:
    if not (checkpoint / LEARNED_FILE).is_file():
        return False
    try:
        json.loads((checkpoint / _STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def writing(what: Path, *, run: Path) -> Iterator[None]:
    """Turn a disk that cannot be written into an error that says what is left, and how to go on.

    Raises:
        StoreWriteError: Instead of whatever the libraries raise; half-written folders are removed.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch.save tells of a full disk by a failed assertion of its zip writer
        unwritten = not isinstance(error, RuntimeError) or "inline_container" in str(error)
        if not unwritten or isinstance(error, StoreWriteError):
            raise
        if what.name.startswith("checkpoint-"):
            shutil.rmtree(what, ignore_errors=True)
        kept = last_checkpoint(run)
        again = f"goes on from {Path(kept).name}" if kept else "begins anew"
        raise StoreWriteError(
            f"{what} cannot be written ({str(error).splitlines()[0]}); free space or correct the "
            f"permissions and give the same command again: the run {again}"
        ) from error


def claim(folder: Path, recipe: Recipe) -> None:
    """Mark the folder as this run's.

    Raises:
        ConfigError: If it holds another's.
    """
    path, identity = folder / RUN_FILE, recipe.identity()
    with writing(path, run=folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            temporary = folder / f".{RUN_FILE}.{os.getpid()}"
            temporary.write_text(json.dumps({"identity": identity}) + "\n", encoding="utf-8")
            temporary.replace(path)
            return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["identity"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != identity:
        raise ConfigError(
            f"{folder} holds another run (its recipe differs); give another out=, or delete it"
        )
