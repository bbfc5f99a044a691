"""Settings of compression: frozen, bounded, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from sac_rag.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """How a text is cut, which of its tokens become anchors, and what the encoder does to them."""

    ratio: int = 5
    """Tokens per anchor: 5 keeps one token in five."""
    chunk_size: int = 510
    """Tokens encoded together, a multiple of ``ratio``."""
    selector: str = "uniform"
    """A name in ``sac_rag.selection.SELECTORS``."""
    attention: str = "bidirectional"
    """A name in ``sac_rag.backbone.ATTENTION``."""
    anchor_embedding: str = "slot"
    """``slot``: a vector per anchor slot (released code); ``shared``: one (paper); ``none``."""

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise ConfigError(f"ratio is tokens per anchor, got {self.ratio}; give 1 or more")
        if self.chunk_size < self.ratio:
            raise ConfigError(
                f"chunk_size={self.chunk_size} leaves no anchor at ratio={self.ratio}; "
                f"give a chunk_size of at least {self.ratio}"
            )
        if self.chunk_size % self.ratio:
            near = self.chunk_size - self.chunk_size % self.ratio
            raise ConfigError(
                "chunk_size must be a multiple of ratio so that no run of tokens straddles two "
                f"chunks, got chunk_size={self.chunk_size}, ratio={self.ratio}; "
                f"try chunk_size={near}"
            )

    @property
    def num_slots(self) -> int:
        """Anchors of a full chunk, and rows of a per-slot anchor embedding."""
        return self.chunk_size // self.ratio
