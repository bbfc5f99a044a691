"""The engine behind every class here: given, or loaded on first use, and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sac_rag.errors import ConfigError
from sac_rag.store import AnchorStore

if TYPE_CHECKING:
    from sac_rag import SACEngine

LOADING = (
    "model",
    "adapter",
    "ratio",
    "device",
    "dtype",
    "namespace",
    "codec",
    "local_files_only",
)
"""Fields that say what to load, named as ``SACEngine.from_pretrained`` names them."""


class EngineSource:
    """Gives one engine to all that share it.

    It travels without the engine: a pickle holds what to load, never weights or keys.

    Args:
        engine: One that is there already.
        settings: What to load otherwise.
        store: Where anchors are kept, as ``SACEngine.from_pretrained`` takes it.
    """

    def __init__(
        self,
        engine: SACEngine | None = None,
        *,
        settings: Mapping[str, Any],
        store: Any = None,
    ) -> None:
        self.settings = dict(settings)
        self._store = store
        self._engine = engine
        self._fingerprint = None if engine is None else engine.fingerprint
        self._origin = "pretrained" if engine is None else "given"
        self._lock = RLock()

    @property
    def loaded(self) -> bool:
        """Whether the engine is there."""
        return self._engine is not None

    @property
    def fingerprint(self) -> str | None:
        """The engine's, None before it is there; outlives its end."""
        return self._fingerprint

    def get(self) -> SACEngine:
        """Return the engine; the first call loads it."""
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
                self._fingerprint = self._engine.fingerprint
            return self._engine

    async def aget(self) -> SACEngine:
        """Return the engine; loading does not block the event loop."""
        return self.get() if self.loaded else await asyncio.to_thread(self.get)

    def matching(self, settings: Mapping[str, Any]) -> EngineSource:
        """Return this source, or a new one if other things are to be loaded."""
        if all(self.settings.get(name) == value for name, value in settings.items()):
            return self
        return EngineSource(settings=settings, store=self._store)

    def _load(self) -> SACEngine:
        if self._origin == "given":
            raise ConfigError(
                "this object was made from an engine, or with an open store, and then pickled; "
                "neither travels. Make it anew with from_engine(...), or from_pretrained(...) "
                "with the store's folder"
            )
        from sac_rag import SACEngine  # here, because it brings torch

        return SACEngine.from_pretrained(**self.settings, store=self._store)

    def __getstate__(self) -> dict[str, Any]:
        travels = self._store is None or isinstance(self._store, str | Path)
        return {
            "settings": self.settings,
            "store": self._store if travels else None,
            "origin": self._origin if travels else "given",
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(settings=state["settings"], store=state["store"])
        self._origin = state["origin"]

    def __copy__(self) -> EngineSource:
        return self

    def __deepcopy__(self, memo: object) -> EngineSource:
        return self

    def __repr__(self) -> str:
        return f"EngineSource({'loaded' if self.loaded else 'not loaded'})"


class EngineUser(BaseModel):
    """What to load, and the way to it. Constructing loads nothing.

    Besides the fields, the constructor takes ``engine``, one that is there already, and ``store``,
    as ``SACEngine.from_pretrained`` does; neither shows in ``repr``, dumps or traces.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: str = "embedded"
    """``embedded``, a folder, a hub id, or an adapter folder that names its base; also taken as
    ``model_name``."""
    adapter: str | None = None
    """Folder or hub id of the SAC adapter, if ``model`` does not bring one."""
    ratio: int | None = None
    """Tokens per anchor that is wanted; None takes the adapter's."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ..."""
    dtype: str = "auto"
    """``auto``, ``float32``, ``bfloat16`` or ``float16``."""
    namespace: str = "default"
    """Separates tenants that share a store."""
    codec: str = "exact"
    """How the store writes anchors: ``exact``, ``bf16``, ``fp16``, ``int8``, ``int4`` or
    ``pca:FILE``; an open store has its own."""
    local_files_only: bool | None = None
    """True never asks the hub."""
    source: EngineSource = Field(default=None, exclude=True, repr=False)  # type: ignore[assignment]
    """Where the engine comes from; made from the other fields."""

    @model_validator(mode="before")
    @classmethod
    def _take_engine(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = {**data}
        engine, store = fields.pop("engine", None), fields.pop("store", None)
        if "model_name" in fields:
            fields["model"] = fields.pop("model_name")
        if engine is not None:
            fields.update(_settings_of(engine, asked=[*fields, *(["store"] if store else [])]))
            fields["source"] = EngineSource(engine, settings=_loading(fields))
        if isinstance(store, AnchorStore):
            fields = {"codec": store.codec, "namespace": store.namespace, **fields}
        fields.update(
            {name: str(fields[name]) for name in ("model", "adapter") if fields.get(name)}
        )
        if "source" in fields:
            fields["source"] = fields["source"].matching(_loading(fields))
        else:
            fields["source"] = EngineSource(settings=_loading(fields), store=store)
        return fields

    @classmethod
    def from_pretrained(cls, model: str | Path = "embedded", **settings: Any) -> Self:
        """Name what to load on first use.

        Args:
            model: ``embedded``, a folder, a hub id, or an adapter folder that names its base.
            **settings: Any field, and ``store``.
        """
        return cls(model=str(model), **settings)

    @classmethod
    def from_engine(cls, engine: SACEngine, **settings: Any) -> Self:
        """Use an engine that is there already, with its store."""
        return cls(engine=engine, **settings)  # type: ignore[call-arg]

    @property
    def engine(self) -> SACEngine:
        """The engine; the first use loads it."""
        return self.source.get()

    def close(self) -> None:
        """Let go of the model, for all that share it; later calls raise ``EngineClosedError``."""
        if self.source.loaded:
            self.engine.close()

    def shared(self) -> dict[str, Any]:
        """Return constructor arguments of another object on the same engine."""
        return {"source": self.source, **{name: getattr(self, name) for name in LOADING}}


def _settings_of(engine: SACEngine, *, asked: list[str]) -> dict[str, Any]:
    clash = sorted({*LOADING, "store", "source"} & set(asked))
    if clash:
        raise ConfigError(
            f"got an engine and {', '.join(clash)}; an engine brings these, so leave one out"
        )
    return {
        "model": engine.name,
        "ratio": engine.ratio,
        "namespace": engine.store.namespace,
        "codec": engine.store.codec,
    }


def _loading(fields: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {name: EngineUser.model_fields[name].default for name in LOADING}
    return {name: fields.get(name, default) for name, default in defaults.items()}
