"""Find and load a model, its tokenizer and its adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.import_utils import is_flash_attn_2_available

from sac_rag.adapter import Adapter, SACConfig, fetch_adapter
from sac_rag.adapter.config import CONFIG_FILE
from sac_rag.backbone import MODEL_TYPES
from sac_rag.errors import (
    AdapterMismatchError,
    ConfigError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from sac_rag.tokens import Tokens

EMBEDDED = "embedded"
"""Name of the model that ships with the package."""
EMBEDDED_FOLDER = Path(__file__).parent.parent / "embedded"
EMBEDDED_MODEL = "nano"
EMBEDDED_ADAPTER = "sac-5x"

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """What an engine runs on."""

    name: str
    """The model as the caller named it."""
    adapter: Adapter
    """Method, backbone, prompt format."""
    tokens: Tokens
    """Tokenizer and end tokens."""


def load(
    model: str | Path,
    *,
    adapter: str | Path | None,
    ratio: int | None,
    device: str,
    dtype: str,
    local_files_only: bool | None,
) -> Loaded:
    """Load everything that an engine needs; see ``SACEngine.from_pretrained``."""
    base, adapter = _resolve(model, adapter)
    causal_lm, tokens = load_base(
        base, device=device, dtype=dtype, local_files_only=local_files_only
    )
    if adapter is not None:
        made = Adapter.from_pretrained(
            adapter,
            model=causal_lm,
            ratio=ratio,
            local_files_only=local_files_only,
            tokens=tokens,
        )
    elif ratio in (None, 1):
        made = Adapter.plain(causal_lm)
    else:
        raise AdapterMismatchError(
            f"asked for ratio {ratio} without an adapter: the base model {str(model)!r} cannot "
            "compress by itself; give adapter=, train one with `python -m sac_rag.train`, or use "
            "ratio=1, which keeps all keys and values"
        )
    return Loaded(name=str(model), adapter=made, tokens=tokens)


def adapter_config(
    model: str | Path, adapter: str | Path | None, *, local_files_only: bool | None = None
) -> SACConfig | None:
    """Read what ``load`` would take for an adapter, and no weights; None for a base alone.

    Raises:
        CheckpointFormatError: If the adapter is not whole.
    """
    _, adapter = _resolve(model, adapter)
    if adapter is None:
        return None
    return SACConfig.load(fetch_adapter(adapter, local_files_only=local_files_only))


def load_base(
    model: str | Path,
    *,
    dtype: str,
    device: str = "auto",
    local_files_only: bool | None = None,
) -> tuple[Any, Tokens]:
    """Load a base model and its tokenizer alone, as training wants them.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If its layers or RoPE cannot carry anchors.
    """
    folder = str(EMBEDDED_FOLDER / EMBEDDED_MODEL) if str(model) == EMBEDDED else str(model)
    hub = {} if local_files_only is None else {"local_files_only": local_files_only}
    where = pick_device(device)
    causal_lm = _load_model(folder, where, pick_dtype(dtype, where), hub)
    tokens = Tokens.from_pretrained(folder, **hub)
    tokens.eos_ids = _eos_ids(causal_lm, tokens)
    return causal_lm, tokens


def pick_device(device: str) -> torch.device:
    """Choose where to run: ``auto`` takes CUDA if there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Choose the precision: ``auto`` takes bfloat16 on CUDA and float32 on the CPU.

    Raises:
        ConfigError: If the name is not known.
    """
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; choose from auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _resolve(model: str | Path, adapter: str | Path | None) -> tuple[str, str | Path | None]:
    """Turn names into places: ``embedded``, and adapter folders given as the model."""
    if str(model) == EMBEDDED:
        folder = EMBEDDED_FOLDER / EMBEDDED_MODEL
        return str(folder), adapter or folder / EMBEDDED_ADAPTER
    if adapter is None and (Path(model) / CONFIG_FILE).is_file():
        return SACConfig.load(Path(model)).base_model, model
    return str(model), adapter


def _load_model(base: str, device: torch.device, dtype: torch.dtype, hub: dict[str, Any]) -> Any:
    try:
        config = AutoConfig.from_pretrained(base, **hub)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"no model that can be loaded at {base!r}: {str(error).splitlines()[0]}; give a folder "
            f"with config.json and weights, a hub id that can be reached, or {EMBEDDED!r}"
        ) from error
    if config.model_type not in MODEL_TYPES:
        raise UnsupportedModelError(
            f"{base} is a {config.model_type!r} model: its layers are not known to be plain RoPE "
            f"attention; use one of {', '.join(MODEL_TYPES)}"
        )
    flash = device.type == "cuda" and dtype != torch.float32 and is_flash_attn_2_available()
    causal_lm = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        attn_implementation="flash_attention_2" if flash else "sdpa",
        **hub,
    )
    return causal_lm.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]


def _eos_ids(causal_lm: Any, tokens: Tokens) -> list[int]:
    """Every token that ends an answer: chat models name several in their generation config."""
    named = getattr(causal_lm.generation_config, "eos_token_id", None)
    named = [named] if isinstance(named, int) else list(named or [])
    return sorted({*named, *tokens.eos_ids})
