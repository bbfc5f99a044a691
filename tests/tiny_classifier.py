"""A tiny classifier in the form of LLMLingua-2's: XLM-R with random weights."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
)

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = ["▁the", "▁mill", "▁has", "▁wheel", "▁river", "▁is", "▁long", "ing", "er", "ill"]


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer of words, parts of words and letters, with XLM-R's special tokens."""
    letters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation, "é"]
    scores = [(piece, -1.0) for piece in WORDS] + [(letter, -5.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram([(one, 0.0) for one in SPECIAL] + scores, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(names, SPECIAL, strict=True)),
        cls_token="<s>",
        sep_token="</s>",
    )


def write_classifier(folder: Path, *, seed: int = 0, num_labels: int = 2) -> Path:
    """Write a classifier as a user's folder."""
    tokenizer = piece_tokenizer()
    torch.manual_seed(seed)
    model = XLMRobertaForTokenClassification(
        XLMRobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=514,
            num_labels=num_labels,
            initializer_range=0.5,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
