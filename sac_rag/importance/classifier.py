"""LLMLingua-2's classifier (arXiv:2403.12968): which words of a text are worth keeping.

A token classifier of two labels, loaded with transformers. The package ``llmlingua`` (0.2.2) is not
used: it gives no probabilities, fetches an encoding of another model when it is made, seeds every
random generator of the process, knows its models by their names, and opens what XLM-R reads with
a token of BERT's, unknown to it. Given the right token, the package keeps the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from sac_rag.errors import ConfigError, MissingDependencyError, ModelNotFoundError
from sac_rag.importance.words import Piece, Word, cut_windows, group_words, pieces_of
from sac_rag.weights import hash_weights

DEFAULT_CLASSIFIER = "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"
"""The one that the SAC paper's authors used."""
KEEP = 1
"""Index of the label that says a word is kept."""
WINDOW = 512
"""Pieces that it reads at once, its two special tokens included, as LLMLingua-2 has it."""


class KeepClassifier:
    """Reads texts and scores their words.

    Args:
        model: A token classifier with two labels, the second of which keeps.
        tokenizer: Its tokenizer, a fast one: words are found by character.

    Raises:
        ConfigError: If the model has other labels, or the tokenizer is not its own, or a slow one.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        if model.config.num_labels != 2:
            raise ConfigError(
                f"the classifier {model.config.name_or_path!r} has {model.config.num_labels} "
                "labels; LLMLingua-2's has two, drop and keep"
            )
        if not tokenizer.is_fast:
            raise ConfigError(
                f"the tokenizer of {model.config.name_or_path!r} does not say where its pieces "
                "stand in a text; give a classifier with a tokenizer.json"
            )
        if not model.config.vocab_size // 2 <= len(tokenizer) <= model.config.vocab_size:
            # transformers makes an empty tokenizer where it finds no file of one
            raise ConfigError(
                f"the tokenizer of {model.config.name_or_path!r} has {len(tokenizer)} pieces, the "
                f"classifier {model.config.vocab_size}: it is another's, or its files are missing; "
                "give a folder with both"
            )
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        spelled = sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
        self.identity = f"{hash_weights(model)} {spelled}"
        """Hash of weights and tokenizer."""

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path = DEFAULT_CLASSIFIER,
        *,
        device: torch.device | str = "cpu",
        local_files_only: bool | None = None,
    ) -> KeepClassifier:
        """Load a classifier from a folder or the hub, in float32.

        Raises:
            ModelNotFoundError: If there is none.
            MissingDependencyError: If its tokenizer needs the extra ``llmlingua``.
            ConfigError: If it is another kind of model.
        """
        hub = {} if local_files_only is None else {"local_files_only": local_files_only}
        try:
            model = AutoModelForTokenClassification.from_pretrained(
                str(path_or_id), dtype=torch.float32, **hub
            )
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"no token classifier that can be loaded at {str(path_or_id)!r}: "
                f"{str(error).splitlines()[0]}; give a folder with its model and tokenizer, or a "
                f"hub id that can be reached, e.g. {DEFAULT_CLASSIFIER}"
            ) from error
        return cls(model.to(device), _load_tokenizer(str(path_or_id), hub))

    def words(self, text: str) -> list[Word]:
        """Cut a text into words, in order, and score each."""
        pieces = pieces_of(text, self._tokenizer)
        return [
            word
            for number, (first, last) in enumerate(cut_windows(text, pieces, room=WINDOW - 2))
            for word in self._score(text, pieces[first:last], number)
        ]

    @torch.no_grad()
    def _score(self, text: str, pieces: Sequence[Piece], number: int) -> list[Word]:
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        ids_1T = torch.tensor([[begin, *(piece.id for piece in pieces), end]])
        ids_1T = ids_1T.to(self._model.device)
        logits_TC = self._model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits[0]
        keep = iter(logits_TC.softmax(-1)[1:-1, KEEP].tolist())
        of_piece = {id(piece): next(keep) for piece in pieces}
        return [
            Word(
                start=word[0].start,
                end=word[-1].end,
                keep=sum(of_piece[id(piece)] for piece in word) / len(word),
                window=number,
            )
            for word in group_words(text, pieces)
        ]


def _load_tokenizer(path_or_id: str, hub: dict[str, Any]) -> Any:
    try:
        return AutoTokenizer.from_pretrained(path_or_id, **hub)
    except (ImportError, OSError, ValueError) as error:
        lacking = [name for name in ("sentencepiece", "google.protobuf") if not _is_there(name)]
        if lacking:
            raise MissingDependencyError(
                f"the tokenizer of {path_or_id!r} cannot be read without {', '.join(lacking)} "
                f"({str(error).strip().splitlines()[0]}); pip install 'sac-rag[llmlingua]'"
            ) from error
        raise ModelNotFoundError(
            f"no tokenizer that can be loaded at {path_or_id!r}: "
            f"{str(error).strip().splitlines()[0]}; give a folder that holds the classifier's own"
        ) from error


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
