"""Which rows ``sac-rag eval`` shows: floor and ceiling, adapters, and hard compression."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sac_rag.cli.opening import model_errors
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
    """Of adapters and of hard compression; empty for each adapter's own."""
    classifier: str
    """Folder or hub id of LLMLingua-2's model; empty for the published one."""

    @classmethod
    def read(cls, *, methods: str, ratios: str, classifier: str) -> Rows:
        """Read lists with commas.

        Raises:
            ConfigError: If a method is not known, a ratio is no ratio, or nothing has it.
        """
        from sac_rag.methods import METHODS

        named = tuple(filter(None, (one.strip() for one in methods.split(","))))
        known = (*FLOOR_AND_CEILING, *METHODS, LLMLINGUA2)
        for one in named:
            if one not in known:
                raise ConfigError(f"no method is called {one!r}; choose from {', '.join(known)}")
        numbers = _ratios(ratios)
        if numbers and named and not set(named) - set(FLOOR_AND_CEILING):
            raise ConfigError(
                f"--ratios: {', '.join(named)} compress nothing; name an adapter's method or "
                f"{LLMLINGUA2} in --methods, or leave --ratios out"
            )
        if LLMLINGUA2 in named and 1 in numbers:
            raise ConfigError(f"{LLMLINGUA2} takes --ratios above 1, got {ratios!r}; leave 1 out")
        if LLMLINGUA2 not in named and classifier:
            raise ConfigError(f"--classifier is {LLMLINGUA2}'s own; add --methods {LLMLINGUA2}")
        return cls(named, numbers, classifier)

    def shows(self, method: str) -> bool:
        """Say whether adapters of a method are wanted."""
        return not self.methods or method in self.methods

    def check(self, model: str, adapters: Sequence[NamedAdapter]) -> None:
        """Refuse to begin if a method is wanted that no adapter is of, or a ratio that one lacks.

        Raises:
            ConfigError: Naming all that is missing, and what is there.
        """
        served = {one: _served(model, one[1]) for one in adapters}
        there = {method for method, _ in served.values()}
        missing = []
        lacking = sorted(set(self.methods) - there - {*FLOOR_AND_CEILING, LLMLINGUA2})
        if lacking:
            missing.append(
                f"asked for {', '.join(lacking)}, and the adapters given are "
                f"{', '.join(sorted(there))}"
            )
        for (name, path), (method, ratios) in served.items():
            unserved = [one for one in self.ratios if one not in ratios and self.shows(method)]
            if unserved:
                missing.append(
                    f"asked for ratio {_listed(unserved)} of {name or path or model}, which serves "
                    f"{_listed(ratios)}"
                )
        if missing:
            raise ConfigError(
                f"{'; '.join(missing)}; give an --adapter of each method, and --ratios that all of "
                "them serve"
            )

    def ratios_of(self, model: str, adapter: NamedAdapter) -> Sequence[int | None]:
        """Give the ratios that an adapter is opened at, one after the other; None is its own."""
        if self.ratios and self.shows(_served(model, adapter[1])[0]):
            return self.ratios
        return (None,)

    def of(self, engine: SACEngine, *, name: str, known: Collection[str]) -> dict[str, EngineAsker]:
        """Give the askers that an engine, at one of its ratios, adds to the rows known already."""
        from sac_rag.eval import compressed, full, llmlingua2, none

        askers = {} if known else {"full": full(engine), "none": none(engine)}
        method = engine.adapter.config.method
        if self.shows(method):
            askers[self._shown(name, engine)] = compressed(engine)
        ratios = self.ratios or ((engine.ratio,) if engine.ratio > 1 else ())
        for ratio in ratios if LLMLINGUA2 in self.methods else ():
            if (row := f"{LLMLINGUA2}-{ratio}x") not in known:
                askers[row] = llmlingua2(engine, ratio=ratio, classifier=self._loaded)
        return askers

    def _shown(self, name: str, engine: SACEngine) -> str:
        """Name an adapter's row: its name or what it is, and at which ratio."""
        config, ratio = engine.adapter.config, f"-{engine.ratio}x"
        if name:
            return f"{name}{ratio if len(self.ratios) > 1 else ''}"
        return f"{config.method}{ratio}{'-query-aware' if config.query_aware else ''}"

    @cached_property
    def _loaded(self) -> KeepClassifier:
        from sac_rag.engine.loading import pick_device
        from sac_rag.importance import DEFAULT_CLASSIFIER, KeepClassifier

        return KeepClassifier.from_pretrained(
            self.classifier or DEFAULT_CLASSIFIER, device=pick_device("auto")
        )


def _ratios(words: str) -> tuple[int, ...]:
    """Read ``5,15,51``; nothing is each adapter's own."""
    if not words.strip():
        return ()
    found = [int(word) for word in words.split(",") if word.strip().isdecimal()]
    if len(found) != len(words.split(",")) or len(set(found)) != len(found) or 0 in found:
        raise ConfigError(f"--ratios takes different whole numbers, e.g. 5,15,51, got {words!r}")
    return tuple(found)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _served(model: str, path: str | None) -> tuple[str, tuple[int, ...]]:
    """Look up an adapter's method and ratios, without its model; a base alone keeps everything."""
    from sac_rag.engine.loading import adapter_config

    with model_errors(path or model):
        config = adapter_config(model, path)
    return ("sac", (1,)) if config is None else (config.method, config.compress.served)
