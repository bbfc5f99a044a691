"""What all tokenizers made here have in common: special tokens, the chat's form, the two files."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

PAD, BOS, EOS = SPECIALS = ("<|pad|>", "<|bos|>", "<|eos|>")
"""The first ids of a vocabulary, in this order."""
CHAT_TEMPLATE = """{{- bos_token -}}
{%- for message in messages -%}
{%- if message['content'] is string -%}{%- set text = message['content'] -%}
{%- else -%}{%- set text = message['content'] | map(attribute='text') | join('') -%}{%- endif -%}
{%- if message['role'] == 'system' -%}{{- text -}}
{%- elif message['role'] == 'user' -%}{{- '\n### Question:\n' + text + '\n### Answer:\n' -}}
{%- else -%}{{- text -}}{%- endif -%}
{%- endfor -%}"""
"""Turns as ``sac_rag.prompts.PromptFormat`` writes questions; system text stands as it is."""


def special_tokens() -> list[AddedToken]:
    """Give ``SPECIALS`` as a tokenizer takes them: found before any text is changed."""
    return [AddedToken(one, special=True, normalized=False) for one in SPECIALS]


def write(tokenizer: Tokenizer, out: Path, *, longest: int) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``.

    Args:
        tokenizer: Its first pieces are ``SPECIALS``.
        out: Folder, made if it is not there.
        longest: Positions of the model, in tokens.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"), pretty=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
        "model_input_names": ["input_ids", "attention_mask"],
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")
