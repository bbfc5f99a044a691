"""Where an engine comes from: named by plain fields, loaded once, when it is first needed."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Self

from llama_index.core.bridge.pydantic import BaseModel, BeforeValidator, Field, PrivateAttr

from sac_rag.errors import AdapterMismatchError

if TYPE_CHECKING:
    from sac_rag import AnchorStore, SACEngine

PathName = Annotated[str, BeforeValidator(os.fspath)]


class EngineSource:
    """Gives one engine to everything that shares it; travels and is copied without it.

    Args:
        settings: The fields of ``EngineFields``.
        engine: An open engine, if there is one already.
        store: An open store for the engine, instead of the one that is named.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        engine: SACEngine | None = None,
        store: AnchorStore | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._lock = Lock()

    @property
    def loaded(self) -> bool:
        """Whether the engine is there."""
        return self._engine is not None

    def get(self) -> SACEngine:
        """Give the engine; the first call loads it.

        Raises:
            AdapterMismatchError: If what the names lead to is not what it was made from.
        """
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    def _load(self) -> SACEngine:
        from sac_rag import SACEngine  # here, because it loads torch

        settings = {name: value for name, value in self._settings.items() if name != "fingerprint"}
        if self._store is not None:
            settings |= {"store": self._store}
        engine = SACEngine.from_pretrained(**settings)
        wanted = self._settings["fingerprint"]
        if wanted not in (None, engine.fingerprint):
            found = engine.fingerprint
            engine.close()
            raise AdapterMismatchError(
                f"this was made from compressor {wanted[:12]}, and model="
                f"{settings['model']!r} with adapter={settings['adapter']!r} is {found[:12]}; "
                "name the model and adapter that made it, or leave fingerprint out"
            )
        return engine

    def __copy__(self) -> EngineSource:
        return self

    def __deepcopy__(self, memo: dict) -> EngineSource:
        return self

    def __reduce__(self) -> tuple:
        return (EngineSource, (self._settings,))


class EngineFields(BaseModel):
    """What names an engine: plain public values, which identify what it compresses."""

    model: PathName = Field(
        default="embedded",
        frozen=True,
        description="'embedded', a folder, a hub id, or an adapter folder that names its base.",
    )
    adapter: PathName | None = Field(
        default=None, frozen=True, description="Folder or hub id of a SAC adapter."
    )
    ratio: int | None = Field(
        default=None, frozen=True, description="Tokens per anchor; None takes the adapter's."
    )
    store: PathName | None = Field(
        default=None, frozen=True, description="Folder of the anchor store; None is memory."
    )
    namespace: str = Field(
        default="default", frozen=True, description="Separates tenants that share a store."
    )
    codec: str = Field(
        default="exact",
        frozen=True,
        description="How the store writes anchors: exact, bf16, fp16, int8, int4 or pca:FILE.",
    )
    device: str = Field(default="auto", frozen=True, description="auto, cpu, cuda, cuda:1, ...")
    dtype: str = Field(
        default="auto", frozen=True, description="auto, float32, bfloat16 or float16."
    )
    local_files_only: bool | None = Field(
        default=None, frozen=True, description="True never asks the hub."
    )
    fingerprint: str | None = Field(
        default=None,
        frozen=True,
        description="The compressor that this was made from, checked when it is loaded again.",
    )

    _source: EngineSource = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._source = EngineSource(engine_settings(self))

    @property
    def engine(self) -> SACEngine:
        """The engine; loaded now, if it was not yet."""
        return self._source.get()

    @classmethod
    def from_engine(cls, engine: SACEngine, **settings: Any) -> Self:
        """Build it on an engine that is open already.

        Args:
            engine: Stays the caller's to close.
            **settings: Other fields.
        """
        made = cls(
            model=engine.name,
            ratio=engine.ratio,
            store=_address(engine.store),
            namespace=engine.store.namespace,
            codec=engine.store.codec,
            fingerprint=engine.fingerprint,
            **settings,
        )
        made._source = EngineSource(engine_settings(made), engine=engine)
        return made

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "embedded",
        *,
        store: str | Path | AnchorStore | None = None,
        **settings: Any,
    ) -> Self:
        """Build it from the names of model and adapter; the first use loads them.

        Args:
            model: See ``SACEngine.from_pretrained``.
            store: A folder, an open store, or None for memory.
            **settings: Other fields.
        """
        if store is None or isinstance(store, str | Path):
            address = None if store is None else str(store)
            return cls(model=str(model), store=address, **settings)
        opened = {"namespace": store.namespace, "codec": store.codec}
        made = cls(model=str(model), store=_address(store), **opened, **settings)
        made._source = EngineSource(engine_settings(made), store=store)
        return made


ENGINE_SETTINGS = tuple(EngineFields.model_fields)


def engine_settings(made: EngineFields) -> dict[str, Any]:
    """Give the fields that name the engine."""
    return {name: getattr(made, name) for name in ENGINE_SETTINGS}


def share_engine(origin: EngineFields, made: EngineFields) -> None:
    """Let one component use the engine of another, loaded or not."""
    made._source = origin._source


def _address(store: AnchorStore) -> str | None:
    path = getattr(store.backend, "path", None)
    return None if path is None else str(path)
