"""Who says which tokens matter: scorers for SAC's selector ``importance``.

``surprisal`` needs nothing but the frozen decoder; ``llmlingua2`` asks LLMLingua-2's classifier.
"""

from __future__ import annotations

from collections.abc import Callable

from sac_rag.backbone import Backbone
from sac_rag.config import CompressConfig
from sac_rag.errors import ConfigError
from sac_rag.importance.classifier import DEFAULT_CLASSIFIER, KeepClassifier
from sac_rag.importance.llmlingua2 import FORCED, LLMLingua2, compress_text
from sac_rag.importance.surprisal import Surprisal
from sac_rag.importance.words import Word
from sac_rag.selection import Scorer
from sac_rag.tokens import Tokens


def scorer_for(
    config: CompressConfig,
    *,
    backbone: Backbone,
    tokens: Tokens | None = None,
    local_files_only: bool | None = None,
) -> Scorer:
    """Make the scorer that settings name.

    Args:
        config: Its ``scorer`` and ``scorer_model``.
        backbone: The base model.
        tokens: The base's tokenizer, for scorers that read text.
        local_files_only: Never ask the hub for the scorer's model.

    Raises:
        ConfigError: If no scorer has that name, or it lacks a tokenizer or has no use for a model.
        ModelNotFoundError: If its model is not there.
        MissingDependencyError: If its model's tokenizer needs a library that is not installed.
    """
    if config.scorer not in SCORERS:
        raise ConfigError(
            f"no scorer is called {config.scorer!r}; choose from {', '.join(SCORERS)}"
        )
    return SCORERS[config.scorer](config, backbone, tokens, local_files_only)


def _surprisal(
    config: CompressConfig, backbone: Backbone, tokens: Tokens | None, local_only: bool | None
) -> Scorer:
    if config.scorer_model:
        raise ConfigError(
            "scorer=surprisal asks the base model itself and has no use for "
            f"scorer_model={config.scorer_model!r}; leave scorer_model out"
        )
    return Surprisal(backbone)


def _llmlingua2(
    config: CompressConfig, backbone: Backbone, tokens: Tokens | None, local_only: bool | None
) -> Scorer:
    if tokens is None:
        raise ConfigError(
            "scorer=llmlingua2 reads text, and the adapter was made without the base's tokenizer; "
            "give tokens= (the engine and the trainer do)"
        )
    classifier = KeepClassifier.from_pretrained(
        config.scorer_model or DEFAULT_CLASSIFIER,
        device=backbone.device,
        local_files_only=local_only,
    )
    return LLMLingua2(classifier, tokens)


SCORERS: dict[str, Callable[[CompressConfig, Backbone, Tokens | None, bool | None], Scorer]] = {
    "surprisal": _surprisal,
    "llmlingua2": _llmlingua2,
}

__all__ = [
    "DEFAULT_CLASSIFIER",
    "FORCED",
    "SCORERS",
    "KeepClassifier",
    "LLMLingua2",
    "Surprisal",
    "Word",
    "compress_text",
    "scorer_for",
]
