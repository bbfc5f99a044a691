"""What the text model and the chat model have in common: settings, counting, identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import BaseMessage
from pydantic import AliasChoices, Field, model_validator

from langchain_sac._engine import LOADING, EngineUser
from langchain_sac._version import __version__
from langchain_sac.blocks import Turn, read_messages
from langchain_sac.rendering import RENDERERS, ChatTemplateUse, Prompt, segments
from sac_rag.handles import contains_handle

if TYPE_CHECKING:
    from langchain_sac.compressor import SACDocumentCompressor
    from langchain_sac.transformer import SACDocumentTransformer
    from sac_rag import GenerationParams

SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed")
"""Fields that can be given per call as well."""


class SACModel(EngineUser):
    """Settings of a model that answers from compressed documents."""

    max_tokens: int = Field(
        default=256, ge=1, validation_alias=AliasChoices("max_tokens", "max_new_tokens")
    )
    """Most tokens of the answer; also taken as ``max_new_tokens``."""
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token; above it, tokens are sampled."""
    top_p: float | None = None
    """Sample from the likeliest tokens that hold this share of probability."""
    top_k: int | None = None
    """Sample from this many likeliest tokens."""
    repetition_penalty: float | None = None
    """Above 1 makes tokens of prompt and answer less likely to come again."""
    seed: int | None = None
    """Makes sampling repeatable."""
    stop: list[str] | str | None = None
    """Texts that end the answer, unless a call brings its own; they are not part of it."""
    use_chat_template: ChatTemplateUse = "auto"
    """How messages become a prompt: ``auto`` takes the model's chat template if it has one,
    ``always`` insists on it (for plain strings too), ``never`` writes the adapter's question
    format."""

    @model_validator(mode="after")
    def _set_langchain_sac_version(self) -> Self:
        self._add_version("langchain-sac", __version__)  # type: ignore[attr-defined]
        return self

    def as_compressor(self, **settings: Any) -> SACDocumentCompressor:
        """Return the document compressor on this model's engine and store."""
        from langchain_sac.compressor import SACDocumentCompressor

        return SACDocumentCompressor(**self.shared(), **settings)

    def as_transformer(self, **settings: Any) -> SACDocumentTransformer:
        """Return the ingest-time transformer on this model's engine and store."""
        from langchain_sac.transformer import SACDocumentTransformer

        return SACDocumentTransformer(**self.shared(), **settings)

    def same_settings(self) -> dict[str, Any]:
        """Return constructor arguments of another model on the same engine that answers alike."""
        names = (*SAMPLING, "stop", "use_chat_template")
        return {**self.shared(), **{name: getattr(self, name) for name in names}}

    def params(
        self, stop: Sequence[str] | str | None = None, changes: Mapping[str, Any] | None = None
    ) -> GenerationParams:
        """Return the settings of one call.

        Raises:
            TypeError: If ``changes`` names a setting that is not known; lists those that are.
            ConfigError: If a value makes no sense.
        """
        from sac_rag import GenerationParams  # here, because it brings torch

        own = {name: getattr(self, name) for name in SAMPLING}
        stop = self.stop if stop is None else stop
        params = GenerationParams().with_changes({**own, "stop": stop or ()})
        return params.with_changes(dict(changes or {}))

    # counting

    def get_token_ids(self, text: str) -> list[int]:
        """Return the model's own token ids; for each anchor of a handle, the padding id.

        Raises:
            InvalidHandleError: If a handle is cut, malformed, or not this store's.
        """
        if self.custom_get_token_ids is not None:  # type: ignore[attr-defined]
            return self.custom_get_token_ids(text)  # type: ignore[attr-defined]
        tokens = self.engine.tokens
        if not contains_handle(text):
            return tokens.encode(text)
        ids: list[int] = []
        for segment in self.engine.resolve(text):
            anchors = getattr(segment, "num_anchors", 0)
            ids += tokens.encode(segment) if isinstance(segment, str) else [tokens.pad_id] * anchors
        return ids

    def get_num_tokens(self, text: str) -> int:
        """Count tokens; a handle counts as the anchors that stand in the prompt for it."""
        return len(self.get_token_ids(text))

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count what messages take in the prompt, template and anchors included.

        It is what the answer's usage will report as input tokens; nothing is compressed for it.

        Raises:
            TypeError: If tools are given: there are none.
        """
        if tools:
            raise TypeError("this model has no tools; leave tools out")
        from sac_rag.engine import Request
        from sac_rag.engine.requests import as_segment

        turns = read_messages(messages, self.engine)
        documents = [as_segment(one) for turn in turns for one in turn.documents]
        text = segments(self.render(turns), self.engine)
        return self.engine.count_prompt(Request(segments=[*dict.fromkeys(documents), *text]))

    def render(self, turns: Sequence[Turn]) -> Prompt:
        """Write a conversation as a prompt, as ``use_chat_template`` says."""
        return RENDERERS[self.use_chat_template](turns, self.engine)

    # identity

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What decides the answer: it is part of cache keys and traces.

        The fingerprint is there once the engine is; every call loads it before it asks a cache.
        """
        names = (*LOADING, *SAMPLING, "stop", "use_chat_template")
        params = {name: getattr(self, name) for name in names if name != "local_files_only"}
        return {
            "model_name": params.pop("model"),
            **params,
            "encoder_fingerprint": self.source.fingerprint,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        own = {"ls_provider": "sac", "ls_model_name": str(kwargs.get("model") or self.model)}
        params = LangSmithParams(**own, ls_model_type=self._ls_model_type())  # type: ignore[typeddict-item]
        params["ls_temperature"] = kwargs.get("temperature", self.temperature)
        limit = kwargs.get("max_tokens", kwargs.get("max_new_tokens", self.max_tokens))
        params["ls_max_tokens"] = limit
        if ends := self.stop if stop is None else stop:
            params["ls_stop"] = [ends] if isinstance(ends, str) else list(ends)
        return params

    def _ls_model_type(self) -> str:
        raise NotImplementedError
