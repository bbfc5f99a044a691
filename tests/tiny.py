"""A tiny model, tokenizer and adapter, built from a config and a seed: no download, no training.

The answers are noise, the laws hold all the same.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from sac_rag.adapter import Adapter
from sac_rag.config import CompressConfig
from sac_rag.tokens import Tokens

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% endfor %}<|assistant|>"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer whose tokens are bytes, with BOS, EOS and a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|bos|>", "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
    vocab = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        additional_special_tokens=special[3:],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_config(**changes) -> LlamaConfig:
    """Give a Llama of 3 layers, width 32, 2 of 4 key/value heads, window 4,096."""
    settings = {
        "vocab_size": 264,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "initializer_range": 0.2,
    }
    return LlamaConfig(**{**settings, **changes})


def tiny_model(config=None, *, seed: int = 0, dtype: torch.dtype = torch.float32):
    """Make a model with random weights, large enough that its answers differ."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config or tiny_config(), dtype=dtype)
    return model.eval().requires_grad_(False)


def tiny_adapter(
    model,
    *,
    ratio: int = 5,
    seed: int = 1,
    query_aware: bool = False,
    sink: bool = False,
    tokens: Tokens | None = None,
    **compress,
) -> Adapter:
    """Put an adapter with random non-zero LoRA and embeddings on a model."""
    torch.manual_seed(seed)
    adapter = Adapter.create(
        model,
        compress=CompressConfig(ratio=ratio, **compress),
        lora=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
        query_aware=query_aware,
        sink=sink,
        tokens=tokens,
    )
    for name, weight in adapter.backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    torch.nn.init.normal_(adapter.method.anchor_embeddings, std=0.2)
    adapter.method.requires_grad_(False)
    return Adapter(adapter.method, adapter.config)


def write_tiny(folder: Path, *, ratio: int = 5, **changes) -> tuple[Path, Path]:
    """Write model, tokenizer and adapter as a user's folders: (model, adapter).

    Changes are ``tiny_adapter``'s.
    """
    base, sac = folder / "base", folder / f"sac-{ratio}x"
    model = tiny_model()
    model.save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    tiny_adapter(model, ratio=ratio, **changes).save_pretrained(sac)
    return base, sac
