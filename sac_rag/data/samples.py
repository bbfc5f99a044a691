"""Records to token ids, as the authors' code prepares them (SAC, arXiv:2510.08907).

A pretraining text is cut in two: the first half is compressed, the second is to be continued. A
question's documents are compressed, question and answer are plain. Pieces are tokenised apart,
without special tokens; nothing is cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from sac_rag.data.records import QARecord, TextRecord
from sac_rag.errors import ConfigError
from sac_rag.prompts import PromptFormat

if TYPE_CHECKING:
    from sac_rag.tokens import Tokens

CHARS_PER_TOKEN = 6
"""A text of more characters per token wanted is too long without being tokenised."""

Sample = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Which texts are cut into pairs."""

    min_tokens: int = 510
    """Shorter texts are left out, in tokens."""
    max_tokens: int = 2040
    """Longer texts are left out, in tokens."""
    limit: int | None = None
    """Most pairs, in reading order; None for all."""

    def __post_init__(self) -> None:
        if not 2 <= self.min_tokens <= self.max_tokens:
            raise ConfigError(
                f"a text of min_tokens={self.min_tokens} to max_tokens={self.max_tokens} cannot be "
                "cut in two halves; give 2 <= min_tokens <= max_tokens"
            )
        _check_limit(self.limit)


@dataclass(frozen=True, kw_only=True)
class QASettings:
    """How questions are written."""

    prompt: PromptFormat = field(default_factory=PromptFormat)
    """What stands around documents and questions."""
    max_context_tokens: int | None = None
    """Records whose documents are longer together are left out; None keeps all."""
    limit: int | None = None
    """Most samples, in reading order; None for all. Sets that stand behind each other, as MRQA's
    do, need all of them: shuffle the prepared samples and take the first."""

    def __post_init__(self) -> None:
        _check_limit(self.limit)


def pretraining_pairs(
    texts: Iterable[TextRecord],
    *,
    tokens: Tokens,
    settings: PretrainSettings,
    left_out: Counter[str],
) -> Iterator[Sample]:
    """Cut texts into a context and its continuation.

    Args:
        texts: In reading order.
        tokens: The tokenizer.
        settings: Bounds.
        left_out: Counts what is too short or too long.

    Yields:
        ``id``; ``context_ids``: BOS and the first half; ``target_ids``: the second half and EOS.
    """
    end, begin = end_id(tokens), _begin(tokens)

    def pairs() -> Iterator[Sample]:
        for record in texts:
            if len(record.text) > CHARS_PER_TOKEN * settings.max_tokens:
                left_out["too long"] += 1
                continue
            ids = tokens.encode(record.text)
            if not settings.min_tokens <= len(ids) <= settings.max_tokens:
                left_out["too short" if len(ids) < settings.min_tokens else "too long"] += 1
                continue
            half = len(ids) // 2
            yield {
                "id": record.id,
                "context_ids": begin + ids[:half],
                "target_ids": [*ids[half:], end],
            }

    yield from islice(pairs(), settings.limit)


def autoencoding_target(context_ids: Sequence[int], *, end: int) -> list[int]:
    """Give what autoencoding must say: the context, as the encoder saw it, and EOS."""
    return [*context_ids, end]


def qa_samples(
    records: Iterable[QARecord], *, tokens: Tokens, settings: QASettings, left_out: Counter[str]
) -> Iterator[Sample]:
    """Write questions as the model sees them.

    Args:
        records: In reading order.
        tokens: The tokenizer.
        settings: Prompt format and bounds.
        left_out: Counts what is too long.

    Yields:
        ``id``, ``source``; ``context_ids``: one list per document, BOS, prefix and text;
        ``question_ids``: the plain part; ``answer_ids``: the first answer and EOS; ``gold``: that
        answer.
    """
    end, prompt = end_id(tokens), settings.prompt

    def samples() -> Iterator[Sample]:
        for record in records:
            documents = [
                prompt.seen_ids(one.text, one.title, tokens=tokens) for one in record.documents
            ]
            length = sum(len(ids) for ids in documents)
            if settings.max_context_tokens is not None and length > settings.max_context_tokens:
                left_out["too long"] += 1
                continue
            yield {
                "id": record.id,
                "source": record.source,
                "context_ids": documents,
                "question_ids": tokens.encode(prompt.question(record.question)),
                "answer_ids": [*tokens.encode(record.answers[0]), end],
                "gold": record.answers[0],
            }

    yield from islice(samples(), settings.limit)


def end_id(tokens: Tokens) -> int:
    """Give the token that ends what is taught: the tokenizer's own EOS.

    Raises:
        ConfigError: If it has none.
    """
    own = tokens.tokenizer.eos_token_id
    if isinstance(own, int):
        return own
    if not tokens.eos_ids:
        raise ConfigError("the tokenizer has no end token, so no answer could end; set eos_token")
    return tokens.eos_ids[0]


def _begin(tokens: Tokens) -> list[int]:
    return [] if tokens.bos_id is None else [tokens.bos_id]


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be 1 or more, got {limit}; leave it out for all")
