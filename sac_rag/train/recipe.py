"""A training run as data: frozen settings, read from YAML by ``recipe_file``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import sha256

from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.settings import plain

STAGES = ("pretrain", "finetune")
PRECISIONS = ("float32", "bfloat16")
ORDERS = ("authors", "shuffled", "as_read")

NOT_IN_THE_NUMBERS = (
    *("out", "micro_batch", "gradient_checkpointing", "fsdp"),
    *("save_every", "log_every", "eval_every", "report_to", "run_name", "evaluate"),
)
"""Settings that may change when a run is resumed."""


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
    distillation: float = field(default=0.0, metadata={"later": True})
    """Predict the target as the frozen decoder does that reads the documents in full; beside
    ``qa`` or ``continuation``, whose samples it reads."""


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How ``objectives.distillation`` compares."""

    temperature: float = 1.0
    """Both distributions are softened by it, and the loss is multiplied by its square, so that
    gradients keep their size; 1 compares what is answered with."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"distill.temperature={self.temperature} should be above 0; give 1")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where examples come from."""

    train: tuple[str, ...]
    """Files, folders, patterns, ``hub://owner/name?split=train`` or ``synthetic://text?seed=0``."""
    limit: int = 0
    """Examples to train on at most; 0 for all."""
    min_tokens: int = 510
    """Pretraining: shortest text."""
    max_tokens: int = 2040
    """Pretraining: longest text."""
    max_bad: int = 0
    """Bad records that are skipped (and reported) before the run is refused."""
    distractors: int = 0
    """Documents of other records joined to each in random order: composition-aware training."""
    far: float = 0.0
    """Share of the samples that are asked as if more documents stood between theirs and the
    question: positions are left free there, which costs nothing."""
    farthest: int = 4096
    """Most positions left free, in tokens; fewer where the decoder's window ends."""
    order: str = "authors"
    """``authors``: texts as they come, questions shuffled once; ``shuffled``, ``as_read``: both."""
    order_seed: int = 0
    """Of the shuffle, of the distractors and of what is far; the authors' is 0."""
    held_out: int = 0
    """First samples of that order that are not trained on but measured; the authors' number in
    pretraining is 1,000."""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ConfigError(
                f"data.order={self.order!r} is not known; choose from {', '.join(ORDERS)}"
            )
        if min(self.limit, self.max_bad, self.distractors, self.held_out) < 0:
            raise ConfigError(
                f"data.limit={self.limit}, data.max_bad={self.max_bad}, data.distractors="
                f"{self.distractors}, data.held_out={self.held_out}: none may be below 0"
            )
        if not 0 <= self.far <= 1 or self.farthest < 1:
            raise ConfigError(
                f"data.far={self.far} is a share from 0 to 1, data.farthest={self.farthest} a "
                "number of positions from 1"
            )


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
class EvaluateSettings:
    """What the run's adapter is asked; ``data`` empty for nothing."""

    data: tuple[str, ...] = ()
    """Questions: files, folders, patterns, ``hub://...`` or ``synthetic://qa?seed=1``."""
    roads: tuple[str, ...] = ("full", "compressed", "none")
    """Names in ``sac_rag.eval.ROADS``: ``full`` is the ceiling, ``none`` the floor."""
    metrics: tuple[str, ...] = ("paper_em", "paper_f1", "squad_em", "squad_f1")
    """Names in ``sac_rag.eval``'s ``QA_METRICS`` and ``SUMMARY_METRICS``."""
    limit: int = 0
    """Questions at most, drawn by ``data.order_seed``; 0 for all."""
    batch: int = 8
    """Questions answered together."""
    max_new_tokens: int = 32
    """Most tokens of an answer; the authors' code allows 1,024."""
    max_bad: int = 0
    """Bad records that are skipped (and reported) before the data is refused."""
    resamples: int = 1000
    """Resamples behind each interval."""
    json: str = ""
    """File of the report; empty for ``evaluation.json`` in the folder of the run."""


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
    distill: DistillSettings = field(default=DistillSettings(), metadata={"later": True})
    """How ``objectives.distillation`` compares."""
    data: DataSettings
    """Where examples come from."""
    optim: OptimSettings = field(default_factory=OptimSettings)
    """How weights move."""
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    """What the stage ``evaluate`` asks the finished adapter."""
    steps: int = 20_000
    """Optimiser steps."""
    batch: int = 16
    """Examples a step, over all processes."""
    micro_batch: int = 1
    """Examples a process takes at once."""
    precision: str = "float32"
    """Of weights and optimiser states: ``float32`` or ``bfloat16`` (the authors')."""
    gradient_checkpointing: bool = False
    """Keep each layer's input alone for backward, and run the layer again there."""
    fsdp: bool = False
    """Share the weights out over the processes (FSDP2) instead of a copy each (DDP)."""
    seed: int = 12345
    """Of weights; the authors' is 12345. The order of samples has ``data.order_seed``."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between log lines."""
    eval_every: int = 1000
    """Steps between measurements of ``data.held_out``; it is also measured at the end."""
    report_to: tuple[str, ...] = ()
    """transformers' integrations: ``tensorboard``, ``wandb``, ...; empty for none."""
    run_name: str = ""
    """What those call the run; empty for their own choice."""
    query_aware: bool = field(default=False, metadata={"later": True})
    """Whether the encoder reads each chunk together with the sample's question."""
    sink: bool = field(default=False, metadata={"later": True})
    """Whether the frozen model's own BOS stands at position 0 before all documents."""

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
        if self.objectives.distillation and not (
            self.objectives.qa or self.objectives.continuation
        ):
            raise ConfigError(
                "objectives.distillation reads the samples of another objective; give "
                "objectives.qa or objectives.continuation a weight beside it"
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
        if min(self.save_every, self.log_every, self.eval_every) < 1:
            raise ConfigError(
                f"save_every={self.save_every}, log_every={self.log_every}, eval_every="
                f"{self.eval_every}: each must be 1 or more"
            )

    def identity(self) -> str:
        """Hash everything that a run's numbers depend on; a checkpoint resumes only within it."""
        settings = plain(self)
        for name in NOT_IN_THE_NUMBERS:
            settings.pop(name)
        return sha256(repr(sorted(settings.items())).encode()).hexdigest()
