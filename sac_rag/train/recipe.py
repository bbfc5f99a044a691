"""A training run as data: frozen settings, read from YAML and ``key=value``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError, InputFileError
from sac_rag.settings import build, plain

STAGES = ("pretrain", "finetune")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """The encoder's LoRA; the defaults are the paper's."""

    rank: int = 128
    """Rank r."""
    alpha: int = 256
    """Scale is alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Modules that get one; ``all-linear`` alone takes every linear layer."""
    init: str = "released"
    """``released``: A uniform within 1/sqrt(rank), as the authors' code; ``peft``: its default."""


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Weights of what is learned; an objective of weight 0 is not built."""

    continuation: float = 0.0
    """Predict the second half of a text from the compressed first half."""
    autoencoding: float = 0.0
    """Say the compressed text again."""
    qa: float = 0.0
    """Answer a question about compressed documents."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where examples come from."""

    train: tuple[str, ...]
    """Files, folders, patterns, ``hub://owner/name?split=train`` or ``synthetic://text?seed=0``."""
    limit: int = 0
    """Examples at most; 0 for all."""
    min_tokens: int = 510
    """Pretraining: shortest text."""
    max_tokens: int = 2040
    """Pretraining: longest text."""
    max_bad: int = 0
    """Bad records that are skipped (and reported) before the run is refused."""
    distractors: int = 0
    """Documents of other records joined to each in random order: composition-aware training."""


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """The authors' optimiser: AdamW, linear warm-up, then constant."""

    lr: float = 1e-4
    """Learning rate: 1e-4 in pretraining, 5e-5 in fine-tuning."""
    betas: tuple[float, ...] = (0.9, 0.95)
    """AdamW's averages."""
    weight_decay: float = 0.1
    """AdamW's decay."""
    warmup_steps: int = 300
    """From 1/warmup to 1."""
    clip: float = 2.0
    """Global norm of gradients."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One stage of one run."""

    stage: str
    """``pretrain`` or ``finetune``: what the folder is called; objectives say what is learned."""
    out: str
    """Folder of the run."""
    model: str = "embedded"
    """Base model: path, hub id or ``embedded``."""
    adapter: str = ""
    """Adapter to start from; empty for a fresh one."""
    method: str = "sac"
    """A name in ``sac_rag.methods.METHODS``."""
    compress: CompressConfig = field(default_factory=CompressConfig)
    """Ratio or ratios, chunks, anchors; of several ``ratios`` each step draws one."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """The encoder's LoRA."""
    objectives: Objectives = field(default_factory=Objectives)
    """What is learned."""
    data: DataSettings
    """Where examples come from."""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """How weights move."""
    steps: int = 20_000
    """Optimiser steps."""
    batch: int = 16
    """Examples a step, over all processes."""
    micro_batch: int = 1
    """Examples a process takes at once."""
    precision: str = "float32"
    """Of weights and optimiser states: ``float32`` or ``bfloat16`` (the authors')."""
    seed: int = 12345
    """Of weights, order and draws."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between log lines."""
    query_aware: bool = field(default=False, metadata={"later": True})
    """Whether the encoder reads each chunk together with the sample's question."""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ConfigError(f"stage {self.stage!r} is not known; choose from {', '.join(STAGES)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision {self.precision!r} is not known; choose from {', '.join(PRECISIONS)}"
            )
        if not any(asdict(self.objectives).values()):
            raise ConfigError(
                f"a {self.stage} run with no objective learns nothing; give one a weight, "
                "e.g. objectives.continuation=1"
            )
        if self.query_aware and not self.objectives.qa:
            raise ConfigError(
                "query_aware=true trains on questions, and objectives.qa has no weight: pretrain "
                "without query_aware, and fine-tune that adapter with it"
            )
        if min(self.steps, self.batch, self.micro_batch) < 1:
            raise ConfigError(
                f"steps={self.steps}, batch={self.batch}, micro_batch={self.micro_batch}: "
                "each must be 1 or more"
            )

    def identity(self) -> str:
        """Hash everything that a run's numbers depend on; a checkpoint resumes only within it."""
        settings = plain(self)
        for name in ("out", "save_every", "log_every", "micro_batch"):
            settings.pop(name)
        return sha256(repr(sorted(settings.items())).encode()).hexdigest()


def read_recipe(path: str | Path, changes: Sequence[str] = (), *, stage: str = "") -> Recipe:
    """Read a recipe: the file, then ``key=value`` changes with dotted keys.

    Args:
        path: A YAML file.
        changes: Such as ``compress.ratio=15``; values are read as YAML.
        stage: Overrides the file's stage.

    Raises:
        InputFileError: If the file is missing or no YAML.
        ConfigError: If a setting is unknown or senseless.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise InputFileError(f"no recipe at {path}; give a YAML file of train/recipes") from error
    except yaml.YAMLError as error:
        raise InputFileError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise InputFileError(f"{path} should hold settings, found {settings!r}")
    for change in changes:
        _apply(settings, change)
    if stage:
        settings["stage"] = stage
    return build(Recipe, settings, where=str(path))


def _apply(settings: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise ConfigError(f"{change!r} changes nothing; write key=value, e.g. compress.ratio=15")
    *outer, last = name.split(".")
    for part in outer:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{change!r}: {part} holds {inner!r} and no settings inside it")
        settings = inner
    settings[last] = yaml.safe_load(value)
