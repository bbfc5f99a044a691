"""Micro itself: sizes, the untrained model, its losses, and how it is written to disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from groups import IGNORE
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase
from who_sees import MASKS

SHARD = "14MB"
"""Files of the model are smaller than 15 MB."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Shape of a decoder."""

    width: int
    """D, of the embeddings."""
    layers: int
    """L."""
    heads: int
    """H, of queries."""
    groups: int
    """G, of keys and values."""
    head_dim: int
    """K."""
    inner: int
    """Width inside the MLP."""


SIZES = {
    # narrow MLPs pay for ten layers and four key/value heads: an anchor holds 2 * L * G * K numbers
    "micro": Size(width=512, layers=10, heads=8, groups=4, head_dim=64, inner=896),
    "half-million": Size(width=96, layers=3, heads=4, groups=2, head_dim=32, inner=256),
    "toy": Size(width=32, layers=2, heads=2, groups=1, head_dim=16, inner=64),
}
"""By name; all but ``micro`` are for trials of the same road."""
WINDOW = 2048
"""Positions that the model is trained on."""


def new_model(size: str, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """Build an untrained decoder in float32."""
    shape = SIZES[size]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        head_dim=shape.head_dim,
        max_position_embeddings=WINDOW,
        rms_norm_eps=1e-5,
        # slower than Llama 2's 10,000: room to train on longer windows later
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.02,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # what is added to the residual stream starts small (GPT-2)
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * shape.layers) ** -0.5)
    return model


class Reader(nn.Module):
    """A decoder over rows of tokens.

    Args:
        model: In float32; CUDA computes in bfloat16 (autocast, and a bfloat16 residual stream).
        attention: ``sdpa`` or ``flex_attention``: how groups are kept apart.
        compiled: Whether layers and loss are compiled.
    """

    def __init__(self, model: LlamaForCausalLM, *, attention: str, compiled: bool) -> None:
        super().__init__()
        self.model, self.attention, self.compiled = model, attention, compiled
        self.loss = torch.compile(mean_loss, dynamic=False) if compiled else mean_loss
        if compiled:  # layer by layer: ten layers share one compilation
            for layer in model.model.layers:
                layer.compile(dynamic=False)

    def run_as_it_is(self) -> None:
        """Leave off compiling."""
        self.loss, self.compiled = mean_loss, False
        for layer in self.model.model.layers:
            layer._compiled_call_impl = None

    def hidden(
        self, ids_BT: Tensor, positions_BT: Tensor | None = None, mask: Any = None
    ) -> Tensor:
        """Give the last hidden states, (B, T, D); without a mask it is plain causal attention."""
        self.model.set_attn_implementation("sdpa" if mask is None else self.attention)
        embeds_BTD = self.model.model.embed_tokens(ids_BT)
        if embeds_BTD.is_cuda:
            embeds_BTD = embeds_BTD.to(torch.bfloat16)
        return self.model.model(
            inputs_embeds=embeds_BTD,
            attention_mask=mask,
            position_ids=positions_BT,
            use_cache=False,
        ).last_hidden_state

    def text_loss(self, windows_BT: Tensor) -> Tensor:
        """Give the mean loss over windows, each one token longer than what is read."""
        with precision(windows_BT.device):
            hidden_BTD = self.hidden(windows_BT[:, :-1])
            return self.loss(hidden_BTD.flatten(0, 1), windows_BT[:, 1:].flatten(), self.head)

    def answer_loss(self, rows: dict[str, Tensor], *, most: int) -> Tensor:
        """Give the mean loss over the answers of rows of groups.

        Args:
            rows: Fields of ``groups.Row``, (B, T) each.
            most: Targets are padded to so many, so that shapes stay as compiled; more are cut.
        """
        with precision(rows["ids"].device):
            mask = MASKS[self.attention](rows["groups"], rows["questions"])
            hidden_BTD = self.hidden(rows["ids"], rows["positions"], mask)
            targets = rows["targets"].flatten()
            # a stable sort: those with a target first, in order
            wanted = (targets == IGNORE).to(torch.int8).argsort(stable=True)[:most]
            return self.loss(hidden_BTD.flatten(0, 1)[wanted], targets[wanted], self.head)

    @property
    def head(self) -> Tensor:
        """The tied output embedding, (V, D)."""
        return self.model.model.embed_tokens.weight


def mean_loss(hidden_ND: Tensor, targets_N: Tensor, head_VD: Tensor) -> Tensor:
    """Give the mean cross-entropy in nats over the tokens that have a target; 0 if none has."""
    logits_NV = F.linear(hidden_ND, head_VD.to(hidden_ND.dtype)).float()
    total = F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORE, reduction="sum")
    return total / (targets_N != IGNORE).sum().clamp(min=1)


def precision(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 on CUDA, in float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def choose_attention(
    model: LlamaForCausalLM,
    rows: dict[str, Tensor],
    wanted: str = "auto",
    *,
    at_size: Callable[[str], None] = lambda name: None,
) -> tuple[str, str]:
    """Choose how groups are kept apart, and say why.

    ``auto`` takes ``flex_attention`` on CUDA, if it runs there and gives ``sdpa``'s loss and
    gradient; it is faster, and newer. A run must not die of it.

    Args:
        model: On its device.
        rows: Fields of ``groups.Row`` to try it on, layers as they are.
        wanted: ``auto``, or the name of one.
        at_size: Does with an attention what a step of the run will do, compiled and at its size:
            other kernels than those of a few rows.
    """
    device = rows["ids"].device
    if wanted != "auto":
        return wanted, "asked for"
    if device.type != "cuda":
        return "sdpa", f"flex_attention has no backward pass on {device.type}"
    try:
        found = [_try(model, rows, name) for name in ("sdpa", "flex_attention")]
        at_size("flex_attention")
    except Exception as error:  # whatever a new kernel may raise: the other road is always there
        return "sdpa", f"flex_attention failed: {type(error).__name__}: {error}"
    (loss, slope), (other, slope_too) = found
    off = abs(other - loss) / loss, (slope_too - slope).norm().item() / slope.norm().item()
    told = f"flex_attention differs from sdpa by {off[0]:.1e} (loss), {off[1]:.1e} (gradient)"
    return ("flex_attention" if off[0] < 5e-3 and off[1] < 5e-2 else "sdpa"), told


def rehearse(reader: Reader, step: Callable[[], Tensor]) -> str:
    """Do a step before a run, forward and backward; where it does not compile, run as it is.

    A machine without a working compiler makes a run slower, not impossible.

    Args:
        reader: What computes.
        step: Gives a loss, at the size of the run: what is compiled now is what the run takes.

    Returns:
        Why nothing is compiled; empty if it is, or was not asked for.
    """
    if not reader.compiled:
        return ""
    try:
        step().backward()
    except torch.OutOfMemoryError:  # what is not compiled takes more memory, not less
        raise
    except Exception as error:  # whatever a compiler may raise
        reader.run_as_it_is()
        return f"does not compile: {type(error).__name__}: {error}"
    finally:
        reader.model.zero_grad(set_to_none=True)
    return ""


def _try(model: LlamaForCausalLM, rows: dict[str, Tensor], name: str) -> tuple[float, Tensor]:
    reader = Reader(model, attention=name, compiled=False)
    loss = reader.answer_loss(rows, most=rows["ids"].numel())
    weight = model.model.layers[0].self_attn.k_proj.weight
    (slope,) = torch.autograd.grad(loss, weight)
    return loss.item(), slope.float()


def export(model: LlamaForCausalLM, tokenizer_folder: Path, out: Path) -> None:
    """Write the model in bfloat16, in files below 15 MB, with its tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    copy = LlamaForCausalLM(model.config).to(torch.bfloat16)
    copy.load_state_dict(model.state_dict())
    copy.config.dtype = torch.bfloat16
    copy.set_attn_implementation("sdpa")
    copy.generation_config.update(do_sample=False)
    copy.save_pretrained(out, max_shard_size=SHARD)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer_folder / name, out / name)
