"""Import the checkpoints that SAC's authors released (``adapter.pt``, arXiv:2510.08907)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from peft import LoraConfig, TaskType
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig

from sac_rag.adapter.config import BaseIdentity, SACConfig
from sac_rag.adapter.folder import EMBEDDINGS_FILE
from sac_rag.config import CompressConfig
from sac_rag.errors import AdapterMismatchError, CheckpointFormatError

SCALE = 2
"""LoRA scale alpha / r of the released code (r=128, alpha=256)."""

_LORA_KEY = re.compile(r"model\.model\.layers\.(\d+)\.self_attn\.([qv])_proj\.lora_([AB])")


def import_checkpoint(
    checkpoint: str | Path,
    *,
    base: str,
    ratio: int,
    out: str | Path,
    chunk_size: int = 510,
    local_files_only: bool | None = None,
) -> SACConfig:
    """Write an adapter folder from a released ``adapter.pt``.

    Args:
        checkpoint: The file.
        base: Path or hub id of the base model; only its config is read.
        ratio: Tokens per anchor the checkpoint was trained for.
        out: Folder to write.
        chunk_size: Tokens per chunk the checkpoint was trained for.
        local_files_only: Never ask the hub.

    Raises:
        CheckpointFormatError: If the file is no such checkpoint.
        AdapterMismatchError: If its anchor slots do not fit ratio and chunk size, or its layers
            and widths the base.
    """
    tensors = _read(Path(checkpoint))
    compress = CompressConfig(ratio=ratio, chunk_size=chunk_size)
    model_config = AutoConfig.from_pretrained(base, local_files_only=bool(local_files_only))
    identity = BaseIdentity(
        model_type=model_config.model_type,
        hidden_size=model_config.hidden_size,
        num_layers=model_config.num_hidden_layers,
        num_kv_heads=model_config.num_key_value_heads,
        vocab_size=model_config.vocab_size,
    )
    lora = {key: tensor for key, tensor in tensors.items() if _LORA_KEY.fullmatch(key)}
    _check(tensors, lora, compress, identity)
    config = SACConfig(base=identity, base_model=base, compress=compress)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rank = next(tensor for key, tensor in lora.items() if key.endswith("lora_A")).shape[1]
    LoraConfig(
        r=rank,
        lora_alpha=SCALE * rank,
        target_modules=["q_proj", "v_proj"],
        task_type=TaskType.CAUSAL_LM,
        base_model_name_or_path=base,
    ).save_pretrained(str(out))
    # released as x @ A @ B with A (in, r) and B (r, out); peft keeps the transposes
    save_file(
        {f"base_model.{key}.weight": tensor.T.contiguous() for key, tensor in lora.items()},
        out / "adapter_model.safetensors",
    )
    save_file(
        {
            "anchor_embeddings": tensors["role_tokens"].contiguous(),
            "task_embeddings": tensors["special_tokens"].contiguous(),
        },
        out / EMBEDDINGS_FILE,
    )
    config.save(out)
    return config


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise CheckpointFormatError(f"no checkpoint at {path}; give the authors' adapter.pt")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointFormatError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}); only files that "
            "hold nothing but tensors are opened, so that no code in them can run"
        ) from error
    missing = [
        name
        for name in ("role_tokens", "special_tokens")
        if not isinstance(tensors, Mapping) or name not in tensors
    ]
    if missing:
        raise CheckpointFormatError(
            f"{path} holds no {' and no '.join(missing)}; it is not an adapter.pt of SAC"
        )
    return tensors


def _check(
    tensors: Mapping[str, Tensor],
    lora: Mapping[str, Tensor],
    compress: CompressConfig,
    identity: BaseIdentity,
) -> None:
    slots, width = tensors["role_tokens"].shape
    if slots != compress.num_slots:
        raise AdapterMismatchError(
            f"the checkpoint has {slots} anchor slots, ratio {compress.ratio} with chunks of "
            f"{compress.chunk_size} tokens needs {compress.num_slots}; "
            f"its ratio is probably {compress.chunk_size // slots}"
        )
    layers = {int(match[1]) for key in lora if (match := _LORA_KEY.fullmatch(key))}
    if width != identity.hidden_size or layers != set(range(identity.num_layers)):
        raise AdapterMismatchError(
            f"the checkpoint is for a model of width {width} with {len(layers)} layers, the base "
            f"has width {identity.hidden_size} and {identity.num_layers} layers; give its own base"
        )
    if len(lora) != 4 * identity.num_layers:
        raise CheckpointFormatError(
            f"expected lora_A and lora_B of q_proj and v_proj in {identity.num_layers} layers "
            f"({4 * identity.num_layers} tensors), found {len(lora)}; was the file cut, or trained "
            "with other targets?"
        )
