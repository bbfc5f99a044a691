"""What a bench is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass, field

from sac_rag.bench.clock import Pace
from sac_rag.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes, counts and seeds. The defaults take minutes on two CPU cores."""

    contexts: tuple[int, ...] = (1020, 2040, 4080)
    """Tokens of all documents of a question together."""
    document_tokens: int = 1020
    """Tokens of a document: two full chunks."""
    question_tokens: int = 32
    new_tokens: int = 32
    """Tokens decoded."""
    compiled: bool = False
    """Whether the encoder is measured compiled as well; compiling takes minutes."""
    fast_greedy: bool = False
    """Whether a CPU's decoder is measured as ``fast_greedy`` as well: a second copy of weights."""
    readers: tuple[int, ...] = (1, 8, 64)
    """Threads that use a store at once."""
    processes: tuple[int, ...] = (1, 8)
    """Processes that read a store at once; each takes its start-up and 30 MB."""
    operations: int = 256
    """Gets and puts that all readers together do."""
    documents: tuple[int, ...] = (1, 2, 4)
    """Documents per query."""
    entries: tuple[int, ...] = (100, 1000)
    """Entries of a store."""
    batches: tuple[int, ...] = (1, 4)
    """Requests answered together."""
    questions: int = 0
    """Questions of the equal-bytes comparison at most; 0 for all."""
    cartridge_steps: int = 0
    """Training steps of a cartridge for each document; 0 leaves cartridges out."""
    pace: Pace = field(default_factory=Pace)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("contexts", "readers", "processes", "documents", "entries", "batches"):
            numbers = getattr(self, name)
            if not numbers or min(numbers) < 1 or len(set(numbers)) != len(numbers):
                raise ConfigError(f"{name} takes different numbers of 1 or more, got {numbers}")
        for name in ("document_tokens", "question_tokens", "operations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.new_tokens < 2:
            raise ConfigError(
                f"new_tokens={self.new_tokens}: a rate of decoding needs 2 tokens or more"
            )


QUICK = Settings(
    contexts=(1020, 2040),
    new_tokens=16,
    readers=(1, 8),
    processes=(1, 4),
    operations=64,
    documents=(1, 2),
    entries=(50, 200),
    batches=(1, 2),
    questions=12,
    pace=Pace(repeats=3, seconds=15.0),
)
"""A look in a minute or two; too few repetitions for a claim."""
