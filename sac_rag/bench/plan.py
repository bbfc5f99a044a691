"""What a corpus costs and when compressing pays: arithmetic on measured speeds, nothing else.

Three ways to answer from a chunk again and again:

- *anchors*: encode once, then load ``A`` anchors at every retrieval;
- *text*: read all ``n`` tokens at every retrieval;
- *full KV*: read once, then load ``n`` tokens' keys and values at every retrieval.

With ``e`` encoder and ``p`` prefill speed in tokens per second, ``b`` load speed in bytes per
second, ``a`` bytes of an anchor and ``f`` of a full token, r retrievals of a chunk of n tokens at
ratio q take

    anchors   n / e + r (n / q) a / b
    text      r n / p
    full KV   n / p + r n f / b

Nothing is scaled from one model or machine to another: speeds are those of the model that is
planned for, measured where it will run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sac_rag.errors import ConfigError

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What was measured."""

    encode_tokens_per_s: float
    """Compressing documents."""
    prefill_tokens_per_s: float
    """Reading a context in full, at about the length that a query has."""
    load_bytes_per_s: float
    """Reading anchors from the store, checked and made into tensors."""
    question_s: float
    """From the loaded context to the first token: the question's own prefill, in seconds."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ConfigError(
                    f"{name} must be above 0, got {value}; measure it (sac-rag bench)"
                )


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What is to be stored, and how it is asked."""

    tokens: int
    """Of all documents."""
    ratio: int
    """Tokens per anchor."""
    anchor_bytes: float
    """Of one anchor as it is stored, codec included."""
    token_bytes: float
    """Of the keys and values of one token in full."""
    chunk_tokens: int = 510
    """Tokens that are retrieved together."""
    chunks_per_query: int = 8
    retrievals: float = 1.0
    """How often each chunk is retrieved in the time that is planned for."""
    workers: int = 1
    """Devices that encode at once, each at the measured speed."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "retrievals" else 1
            if value < least:
                raise ConfigError(f"{name} must be {least} or more, got {value}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What it takes; bytes, hours and seconds."""

    anchors: int
    anchor_store_bytes: float
    full_kv_bytes: float
    """What full keys and values of the corpus would take."""
    times_smaller: float
    encode_hours: float
    first_token_s: float
    """A query answered from stored anchors."""
    first_token_text_s: float
    """The same query with its chunks read in full."""
    first_token_full_kv_s: float
    """The same from stored full keys and values."""
    pays_over_text_after: int | None
    """Retrievals of a chunk from which on compressing it took less time than re-reading it; None
    if loading it takes longer than reading."""
    pays_over_full_kv_after: int | None
    """The same against keeping full keys and values; None if never."""
    compute_hours: float
    """Encoding and all retrievals of all chunks, one device."""
    compute_hours_text: float
    compute_hours_full_kv: float

    def to_dict(self) -> dict[str, Any]:
        """Write it as plain JSON values."""
        return asdict(self)


def make_plan(corpus: Corpus, speeds: Speeds) -> Plan:
    """Do the sums."""
    anchors = math.ceil(corpus.tokens / corpus.ratio)
    stored, full = anchors * corpus.anchor_bytes, corpus.tokens * corpus.token_bytes
    once = chunk_costs(corpus, speeds)
    asked = corpus.chunks_per_query
    chunks = corpus.tokens / corpus.chunk_tokens
    return Plan(
        anchors=anchors,
        anchor_store_bytes=stored,
        full_kv_bytes=full,
        times_smaller=full / stored,
        encode_hours=chunks * once.encode_s / corpus.workers / SECONDS_PER_HOUR,
        first_token_s=asked * once.load_s + speeds.question_s,
        first_token_text_s=asked * once.read_s + speeds.question_s,
        first_token_full_kv_s=asked * once.load_full_s + speeds.question_s,
        pays_over_text_after=retrievals_until(once.encode_s, once.load_s, 0.0, once.read_s),
        pays_over_full_kv_after=retrievals_until(
            once.encode_s, once.load_s, once.read_s, once.load_full_s
        ),
        compute_hours=chunks * once.total(corpus.retrievals) / SECONDS_PER_HOUR,
        compute_hours_text=chunks * corpus.retrievals * once.read_s / SECONDS_PER_HOUR,
        compute_hours_full_kv=chunks
        * (once.read_s + corpus.retrievals * once.load_full_s)
        / SECONDS_PER_HOUR,
    )


@dataclass(frozen=True, kw_only=True)
class ChunkCosts:
    """What is done to one chunk, in seconds."""

    encode_s: float
    load_s: float
    read_s: float
    load_full_s: float

    def total(self, retrievals: float) -> float:
        """Encode once and load at every retrieval."""
        return self.encode_s + retrievals * self.load_s


def chunk_costs(corpus: Corpus, speeds: Speeds) -> ChunkCosts:
    """Give the seconds of one chunk: n / e, (n / q) a / b, n / p and n f / b.

    >>> corpus = Corpus(tokens=1000, ratio=5, anchor_bytes=100, token_bytes=100, chunk_tokens=500)
    >>> speeds = Speeds(encode_tokens_per_s=250, prefill_tokens_per_s=100, load_bytes_per_s=10_000,
    ...                 question_s=0.1)
    >>> chunk_costs(corpus, speeds)
    ChunkCosts(encode_s=2.0, load_s=1.0, read_s=5.0, load_full_s=5.0)
    """
    size = corpus.chunk_tokens
    return ChunkCosts(
        encode_s=size / speeds.encode_tokens_per_s,
        load_s=size / corpus.ratio * corpus.anchor_bytes / speeds.load_bytes_per_s,
        read_s=size / speeds.prefill_tokens_per_s,
        load_full_s=size * corpus.token_bytes / speeds.load_bytes_per_s,
    )


def retrievals_until(once: float, each: float, other_once: float, other_each: float) -> int | None:
    """Count the retrievals from which on ``once + r each < other_once + r other_each``.

    The smallest whole r of 1 or more that it holds for and for all beyond; None if there is none.

    >>> retrievals_until(3.0, 1.0, 0.0, 2.0)  # 3 + r < 2 r from the 4th on
    4
    >>> retrievals_until(1.0, 1.0, 2.0, 1.5)  # ahead from the first
    1
    >>> retrievals_until(1.0, 3.0, 0.0, 2.0) is None
    True
    """
    behind, gained = once - other_once, other_each - each
    if gained > 0:
        return max(1, math.floor(behind / gained) + 1)
    return 1 if gained == 0 and behind < 0 else None
