"""What analyses read: texts cut in a context and its continuation, as pretraining has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sac_rag.data import PretrainSettings, read_texts
from sac_rag.data.samples import pretraining_pairs
from sac_rag.errors import DataError
from sac_rag.tokens import Tokens
from sac_rag.train.samples import Sample


def read_samples(
    sources: Sequence[str], *, tokens: Tokens, settings: PretrainSettings
) -> list[Sample]:
    """Read texts, in order.

    Args:
        sources: As ``sac_rag.data.read_texts`` takes them.
        tokens: The base's tokenizer.
        settings: Bounds; texts outside them are left out.

    Raises:
        DataError: If no text is within them.
    """
    left_out: Counter[str] = Counter()
    texts = read_texts(list(sources))
    pairs = pretraining_pairs(texts, tokens=tokens, settings=settings, left_out=left_out)
    samples = [Sample(documents=(one["context_ids"],), target=one["target_ids"]) for one in pairs]
    if not samples:
        told = ", ".join(f"{count} {why}" for why, count in left_out.items()) or "none there"
        raise DataError(
            f"no text of {settings.min_tokens} to {settings.max_tokens} tokens in "
            f"{', '.join(sources)} ({told}); give other texts, or other bounds (--min-tokens, "
            "--max-tokens)"
        )
    return samples
