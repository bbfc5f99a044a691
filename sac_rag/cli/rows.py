"""Which rows ``sac-rag eval`` shows: floor and ceiling, adapters, and hard compression."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sac_rag.errors import ConfigError

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine
    from sac_rag.eval import EngineAsker
    from sac_rag.importance import KeepClassifier

FLOOR_AND_CEILING = ("full", "none")
LLMLINGUA2 = "llmlingua2"

NamedAdapter = tuple[str, str | None]
"""Name that the table shows (empty: method and ratio), and path (None: the model's own)."""


@dataclass(frozen=True)
class Rows:
    """What a user asked to see."""

    methods: tuple[str, ...]
    """Names; empty for every adapter given."""
    ratios: tuple[int, ...]
    """Of hard compression; empty for the adapters'."""
    classifier: str
    """Folder or hub id of LLMLingua-2's model; empty for the published one."""

    @classmethod
    def read(cls, *, methods: str, ratios: str, classifier: str) -> Rows:
        """Read lists with commas.

        Raises:
            ConfigError: If a method is not known, or a ratio is no ratio.
        """
        from sac_rag.methods import METHODS

        named = tuple(filter(None, (one.strip() for one in methods.split(","))))
        known = (*FLOOR_AND_CEILING, *METHODS, LLMLINGUA2)
        for one in named:
            if one not in known:
                raise ConfigError(f"no method is called {one!r}; choose from {', '.join(known)}")
        numbers = tuple(filter(None, (one.strip() for one in ratios.split(","))))
        if not all(one.isdigit() and int(one) > 1 for one in numbers):
            raise ConfigError(f"ratios are whole numbers above 1, got {ratios!r}; write e.g. 5,15")
        if LLMLINGUA2 not in named and (numbers or classifier):
            raise ConfigError("--ratios, --classifier: llmlingua2's own; add --methods llmlingua2")
        return cls(named, tuple(map(int, numbers)), classifier)

    def shows(self, method: str) -> bool:
        """Say whether adapters of a method are wanted."""
        return not self.methods or method in self.methods

    def check(self, model: str, adapters: Sequence[NamedAdapter]) -> None:
        """Refuse to begin if a method is wanted that no adapter is of.

        Raises:
            ConfigError: Naming the methods.
        """
        there = {_method_of(model, path) for _, path in adapters}
        lacking = sorted(set(self.methods) - there - {*FLOOR_AND_CEILING, LLMLINGUA2})
        if lacking:
            raise ConfigError(
                f"asked for {', '.join(lacking)}, and the adapters given are {', '.join(there)}; "
                "give an --adapter of each method"
            )

    def of(self, engine: SACEngine, *, name: str, known: Collection[str]) -> dict[str, EngineAsker]:
        """Give the askers that an engine adds to the rows known already."""
        from sac_rag.eval import compressed, full, llmlingua2, none

        askers = {} if known else {"full": full(engine), "none": none(engine)}
        method = engine.adapter.config.method
        if self.shows(method):
            askers[name or f"{method}-{engine.ratio}x"] = compressed(engine)
        ratios = self.ratios or ((engine.ratio,) if engine.ratio > 1 else ())
        for ratio in ratios if LLMLINGUA2 in self.methods else ():
            if (row := f"{LLMLINGUA2}-{ratio}x") not in known:
                askers[row] = llmlingua2(engine, ratio=ratio, classifier=self._loaded)
        return askers

    @cached_property
    def _loaded(self) -> KeepClassifier:
        from sac_rag.engine.loading import pick_device
        from sac_rag.importance import DEFAULT_CLASSIFIER, KeepClassifier

        return KeepClassifier.from_pretrained(
            self.classifier or DEFAULT_CLASSIFIER, device=pick_device("auto")
        )


def _method_of(model: str, path: str | None) -> str:
    """Look an adapter's method up, without its model; a base's own, or none, is SAC."""
    from sac_rag.adapter import SACConfig
    from sac_rag.adapter.adapter import fetch_adapter
    from sac_rag.adapter.config import CONFIG_FILE

    if path is not None:
        return SACConfig.load(fetch_adapter(path)).method
    return SACConfig.load(Path(model)).method if (Path(model) / CONFIG_FILE).is_file() else "sac"
