"""Settings of compression: frozen, bounded, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sac_rag.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """How a text is cut, which of its tokens become anchors, and what the encoder does to them."""

    ratio: int = 5
    """Tokens per anchor: 5 keeps one token in five. Of ``ratios``, the one used unless asked."""
    chunk_size: int = 510
    """Tokens encoded together, a multiple of every ratio."""
    selector: str = "uniform"
    """A name in ``sac_rag.selection.SELECTORS``, or ``importance``: the tokens that score best."""
    attention: str = "bidirectional"
    """A name in ``sac_rag.attention.ATTENTION``."""
    anchor_embedding: str = "slot"
    """``slot``: a vector per anchor slot (released code); ``shared``: one (paper); ``none``."""
    ratios: tuple[int, ...] = field(default=(), metadata={"later": True})
    """All ratios that one adapter serves (any-ratio training, beyond the paper); empty: ``ratio``.

    A slot is then a place: the vector of an anchor at local index i is row ``i // finest``, at
    every ratio, so a token that is an anchor at 5 and at 15 gets one and the same vector."""
    scorer: str = field(default="", metadata={"later": True})
    """Who scores tokens for ``selector: importance``; a name in ``sac_rag.importance.SCORERS``."""
    scorer_model: str = field(default="", metadata={"later": True})
    """Folder or hub id of the scorer's own model; empty for its default."""

    def __post_init__(self) -> None:
        if not isinstance(self.ratios, tuple) or not all(type(one) is int for one in self.ratios):
            raise ConfigError(
                f"ratios is a list of whole numbers, got {self.ratios!r}; give e.g. (5, 15, 51)"
            )
        if self.ratios and self.ratio not in self.ratios:
            raise ConfigError(
                f"ratio={self.ratio} is none of ratios={list(self.ratios)}; name the one of them "
                "that is used unless another is asked for"
            )
        if sorted(set(self.ratios)) != list(self.ratios):
            raise ConfigError(
                f"ratios={list(self.ratios)} should ascend and differ; "
                f"give {sorted(set(self.ratios))}"
            )
        for ratio in self.served:
            self._check(ratio)
        self._check_scorer()

    def _check(self, ratio: int) -> None:
        if ratio < 1:
            raise ConfigError(f"ratio is tokens per anchor, got {ratio}; give 1 or more")
        if self.chunk_size < ratio:
            raise ConfigError(
                f"chunk_size={self.chunk_size} leaves no anchor at ratio={ratio}; "
                f"give a chunk_size of at least {ratio}"
            )
        if self.chunk_size % ratio:
            near = self.chunk_size - self.chunk_size % ratio
            raise ConfigError(
                "chunk_size must be a multiple of ratio so that no run of tokens straddles two "
                f"chunks, got chunk_size={self.chunk_size}, ratio={ratio}; "
                f"try chunk_size={near}"
            )

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
    def served(self) -> tuple[int, ...]:
        """Every ratio that can be asked for."""
        return self.ratios or (self.ratio,)

    @property
    def finest(self) -> int:
        """The smallest ratio that is served."""
        return self.served[0]

    @property
    def num_slots(self) -> int:
        """Anchors of a full chunk at the finest ratio, and rows of a per-slot embedding."""
        return self.chunk_size // self.finest

    def at(self, ratio: int) -> CompressConfig:
        """Give the same settings with another of the served ratios in use.

        Raises:
            ConfigError: If that ratio is not served.
        """
        if ratio not in self.served:
            raise ConfigError(
                f"asked for ratio {ratio}, this compressor was trained for "
                f"{', '.join(map(str, self.served))}; ask for one of these, or train an adapter "
                "for it (compress.ratios)"
            )
        return replace(self, ratio=ratio)
