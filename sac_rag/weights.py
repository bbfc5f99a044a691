"""Tell one model's weights from another's, cheaply."""

from __future__ import annotations

from hashlib import sha256

import torch
from transformers import PreTrainedModel

_SAMPLE = 64


def hash_weights(model: PreTrainedModel) -> str | None:
    """Hash a sample of every weight of a model without a LoRA; None in float16.

    Rounded to bfloat16 first, so that a model loaded in float32 or bfloat16 is the same model;
    float16 rounds differently and is not compared.
    """
    if model.dtype == torch.float16:
        return None
    digest = sha256()
    for name, weight in sorted(model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLE)
        sample = flat[::step][:_SAMPLE].to("cpu", torch.bfloat16).contiguous()
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
