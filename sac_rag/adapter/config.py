"""What an adapter says about itself, and which base it fits: ``sac_config.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from transformers import PreTrainedModel

from sac_rag.config import CompressConfig
from sac_rag.errors import AdapterMismatchError, CheckpointFormatError, ConfigError
from sac_rag.prompts import PromptFormat
from sac_rag.settings import build, plain
from sac_rag.weights import hash_weights

CONFIG_FILE = "sac_config.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class BaseIdentity:
    """What tells one base model from another, cheaply."""

    model_type: str
    """transformers' model type."""
    hidden_size: int
    """Model dimension D."""
    num_layers: int
    """Number of layers L."""
    num_kv_heads: int
    """Key/value heads G."""
    vocab_size: int
    """Rows of the embedding table."""
    weights: str | None = None
    """Hash of a sample of every weight, rounded to bfloat16; None if it is not known."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> BaseIdentity:
        """Take the identity of a loaded model."""
        config = model.config
        return cls(
            model_type=config.model_type,
            hidden_size=config.hidden_size,
            num_layers=config.num_hidden_layers,
            num_kv_heads=config.num_key_value_heads,
            vocab_size=config.vocab_size,
            weights=hash_weights(model),
        )

    def check_fits(self, found: BaseIdentity, *, where: str, base_model: str) -> None:
        """Refuse another base than the adapter was trained on.

        Raises:
            AdapterMismatchError: Naming what differs, both values.
        """
        differing = [
            f"{one.name} {getattr(self, one.name)!r} (adapter) against "
            f"{getattr(found, one.name)!r} (model)"
            for one in fields(self)
            if getattr(self, one.name) is not None
            and getattr(found, one.name) is not None
            and getattr(self, one.name) != getattr(found, one.name)
        ]
        if differing:
            raise AdapterMismatchError(
                f"the adapter in {where} was trained for the base model {base_model!r}, "
                f"and the model given is another: {'; '.join(differing)}; "
                f"load it with model={base_model!r}, or train an adapter for this model"
            )


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Everything about an adapter but its numbers."""

    base: BaseIdentity
    """The model it fits."""
    base_model: str
    """Where that model was loaded from: a path or hub id."""
    compress: CompressConfig = field(default_factory=CompressConfig)
    """Ratios, chunk size, selection, attention, anchor embedding."""
    prompt: PromptFormat = field(default_factory=PromptFormat)
    """How documents and questions are written."""
    method: str = "sac"
    """Name of the compression method."""
    task_token: bool = True
    """Whether the learned [LM] token stands between anchors and prompt."""
    sink: bool = False
    """Whether the frozen model's own BOS stands at position 0 before all documents."""
    format_version: int = FORMAT_VERSION
    """Version of this file."""
    query_aware: bool = field(default=False, metadata={"later": True})
    """Whether the encoder reads each chunk together with the question (beyond the paper).

    The question part, as the decoder reads it (``prompt.question_template``), follows each chunk
    inside the encoder only: at the position ids right behind the chunk, seen by and seeing every
    token of it, without a mark. Anchors, ratio and positions are those of the mode without. The
    anchors answer that question alone, and only method ``sac`` with attention both ways can."""

    def __post_init__(self) -> None:
        if self.query_aware and (self.method != "sac" or self.compress.attention == "causal"):
            raise ConfigError(
                f"query_aware=true with method={self.method!r} and "
                f"attention={self.compress.attention!r}: the question stands behind a chunk, and "
                "only method sac with attention bidirectional lets the anchors see it; use these, "
                "or leave query_aware out"
            )

    def save(self, folder: Path) -> None:
        """Write ``sac_config.json``."""
        text = json.dumps(plain(self), indent=2, sort_keys=True)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> SACConfig:
        """Read ``sac_config.json``.

        Raises:
            CheckpointFormatError: If it is missing, no JSON, of another version, or holds a name
                that is not known.
        """
        path = folder / CONFIG_FILE
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointFormatError(
                f"{folder} is no SAC adapter: it holds no {CONFIG_FILE}; give the folder that "
                "`save_pretrained` wrote, or import a released checkpoint with "
                "`sac-rag import-checkpoint`"
            ) from error
        except ValueError as error:
            raise CheckpointFormatError(
                f"{path} is not valid JSON ({error}); fetch or save the adapter again"
            ) from error
        if raw.get("format_version") != FORMAT_VERSION:
            raise CheckpointFormatError(
                f"{path} has format version {raw.get('format_version')}, this sac-rag reads "
                f"{FORMAT_VERSION}; use the version that wrote it, or save the adapter again"
            )
        try:
            return build(cls, raw, where=str(path))
        except ConfigError as error:
            raise CheckpointFormatError(str(error)) from error
