"""Settings of compression: frozen, bounded, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field

from sac_rag.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """How a text is cut, which of its tokens become anchors, and what the encoder does to them."""

    ratio: int = 5
    """Tokens per anchor: 5 keeps one token in five."""
    chunk_size: int = 510
    """Tokens encoded together, a multiple of ``ratio``."""
    selector: str = "uniform"
    """A name in ``sac_rag.selection.SELECTORS``, or ``importance``: the tokens that score best."""
    attention: str = "bidirectional"
    """A name in ``sac_rag.backbone.ATTENTION``."""
    anchor_embedding: str = "slot"
    """``slot``: a vector per anchor slot (released code); ``shared``: one (paper); ``none``."""
    scorer: str = field(default="", metadata={"later": True})
    """Who scores tokens for ``selector: importance``; a name in ``sac_rag.importance.SCORERS``."""
    scorer_model: str = field(default="", metadata={"later": True})
    """Folder or hub id of the scorer's own model; empty for its default."""

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

        self._check_scorer()

    def _check_scorer(self) -> None:
        if self.selector == "importance" and not self.scorer:
            raise ConfigError(
                "selector=importance needs someone who scores tokens; name a scorer, e.g. "
                "scorer=surprisal or scorer=llmlingua2"
            )
        if self.selector != "importance" and (self.scorer or self.scorer_model):
            raise ConfigError(
                f"scorer={self.scorer!r}, scorer_model={self.scorer_model!r} with selector="
                f"{self.selector!r}, which scores nothing; use selector=importance, or leave them "
                "out"
            )

    @property
    def num_slots(self) -> int:
        """Anchors of a full chunk, and rows of a per-slot anchor embedding."""
        return self.chunk_size // self.ratio
