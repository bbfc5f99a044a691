"""LLMLingua-2 (arXiv:2403.12968) twice: as a scorer of anchors, and as what SAC is compared with.

As a scorer it gives a classifier's keep-probabilities to the base's tokens. As a baseline it is
hard compression: the words that score best are the text that the frozen decoder reads instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from sac_rag.chunking import Chunk
from sac_rag.errors import ConfigError
from sac_rag.importance.classifier import KeepClassifier
from sac_rag.importance.spans import token_spans
from sac_rag.importance.words import Word
from sac_rag.tokens import Tokens

FORCED = ("\n", "?")
"""Kept whatever the classifier says, as the SAC paper's authors ran it."""


class LLMLingua2:
    """Scores the base's tokens by the classifier's words, matched by character.

    A token scores as the best word that it shares a character with; BOS and white space score 0.
    No token is forced: an anchor stands for its neighbourhood, and a line break has none.

    Args:
        classifier: Scores words.
        tokens: The base's tokenizer.
    """

    def __init__(self, classifier: KeepClassifier, tokens: Tokens) -> None:
        self._classifier = classifier
        self._tokens = tokens
        self.identity = f"llmlingua2 {classifier.identity}"
        """Its name, and the classifier's weights and tokenizer."""

    def __call__(self, chunk: Chunk) -> Tensor:
        """Give each token's keep-probability, (T,)."""
        text, spans = token_spans(chunk.token_ids.tolist(), self._tokens)
        keep_C = torch.zeros(len(text) + 1)
        for word in self._classifier.words(text):
            keep_C[word.start : word.end] = word.keep
        return torch.stack(
            [keep_C[start:end].max() if end > start else keep_C[-1] for start, end in spans]
        )


def compress_text(
    text: str,
    *,
    ratio: float,
    classifier: KeepClassifier,
    tokens: Tokens,
    forced: Sequence[str] = FORCED,
) -> str:
    """Keep the words that score best: at most one token in ``ratio``, and at least one word.

    LLMLingua-2's rule with rate = 1 / ratio, window by window, but counted in the tokens of the
    model that will read the result (the original counts those of GPT-3.5), so that it costs the
    decoder what as many anchors would.

    Args:
        text: A document.
        ratio: Tokens of the text per token that is kept, 1 or more.
        classifier: Scores words.
        tokens: The tokenizer of the model that will read it.
        forced: Strings that are kept before all others, if they are words or white space.

    Raises:
        ConfigError: If the ratio is below 1.
    """
    if ratio < 1:
        raise ConfigError(f"ratio is tokens per token kept, got {ratio}; give 1 or more")
    if ratio == 1:
        return text
    scored = classifier.words(text)
    if not scored:
        return text
    kept = [
        word
        for _, window in groupby(_with_forced(text, scored, forced), key=lambda word: word.window)
        for word in _best(text, list(window), ratio, tokens)
    ]
    best = max(scored, key=lambda word: word.keep)
    return _spell(text, kept) or text[best.start : best.end]


def _with_forced(text: str, words: Sequence[Word], forced: Sequence[str]) -> list[Word]:
    """Raise forced words to certainty, and make words of forced white space."""
    raised = [
        replace(word, keep=1.0) if text[word.start : word.end] in forced else word for word in words
    ]
    blanks = [one for one in forced if one.isspace()]
    spots = re.finditer("|".join(map(re.escape, blanks)), text) if blanks else ()
    made = [Word(start=spot.start(), end=spot.end(), keep=1.0, window=-1) for spot in spots]
    ordered: list[Word] = []
    for word in sorted([*raised, *made], key=lambda one: one.start):
        if word.window < 0:  # it belongs where it stands: to the window of the word before it
            word = replace(word, window=ordered[-1].window if ordered else 0)
        ordered.append(word)
    return ordered


def _best(text: str, words: Sequence[Word], ratio: float, tokens: Tokens) -> list[Word]:
    sizes = [tokens.count(_with_space(text, word)) for word in words]
    left = int(sum(sizes) / ratio)
    taken: set[int] = set()
    for index in sorted(range(len(words)), key=lambda one: -words[one].keep):
        left -= sizes[index]
        if left < 0:
            break
        taken.add(index)
    return [words[index] for index in sorted(taken)]


def _with_space(text: str, word: Word) -> str:
    gap = " " if word.start and text[word.start - 1].isspace() else ""
    return gap * (not text[word.start].isspace()) + text[word.start : word.end]


def _spell(text: str, words: Sequence[Word]) -> str:
    spelled = ""
    for word in words:
        piece = _with_space(text, word)
        spelled += piece.removeprefix(" ") if spelled[-1:].isspace() else piece
    return spelled.strip()
