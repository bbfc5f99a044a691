"""How an answer is drawn: bounded, and strict about names it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from transformers import GenerationConfig

from sac_rag.errors import ConfigError

ALIASES = {"max_tokens": "max_new_tokens"}
"""Other names that users know."""


@dataclass(frozen=True, kw_only=True)
class GenerationParams:
    """Settings of one generation; the defaults are greedy."""

    max_new_tokens: int = 64
    """Most tokens of the answer."""
    temperature: float = 0.0
    """0 takes the likeliest token; above it, tokens are sampled."""
    top_p: float | None = None
    """Sample from the likeliest tokens that hold this share of probability."""
    top_k: int | None = None
    """Sample from this many likeliest tokens."""
    repetition_penalty: float | None = None
    """Above 1 makes tokens of prompt and answer less likely to come again."""
    seed: int | None = None
    """Makes sampling repeatable."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""

    def __post_init__(self) -> None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        object.__setattr__(self, "stop", stop)
        if self.max_new_tokens < 1:
            raise ConfigError(
                f"max_new_tokens must be 1 or more, got {self.max_new_tokens}; say how many an "
                "answer may have"
            )
        if self.temperature < 0:
            raise ConfigError(
                f"temperature must be 0 or more, got {self.temperature}; 0 takes the likeliest"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(
                f"top_p must be above 0 and at most 1, got {self.top_p}; leave it out for all"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(
                f"top_k must be 1 or more, got {self.top_k}; leave it out to sample from all"
            )
        if any(not text for text in stop):
            raise ConfigError("an empty stop text would end every answer at once; leave it out")

    def with_changes(self, changes: Mapping[str, Any]) -> GenerationParams:
        """Give a copy with other values.

        Raises:
            TypeError: If a name is not a setting; lists those that are.
        """
        known = {ALIASES.get(name, name): value for name, value in changes.items()}
        allowed = [field.name for field in fields(self)]
        unknown = sorted(set(known) - set(allowed))
        if unknown:
            raise TypeError(
                f"unknown generation setting {', '.join(unknown)}; "
                f"known are {', '.join([*allowed, *ALIASES])}"
            )
        return replace(self, **known)

    def to_config(self, *, eos_ids: list[int], pad_id: int) -> GenerationConfig:
        """Write the settings as transformers' ``generate`` takes them.

        Every value is given, so that a model's own ``generation_config.json`` (which samples, for
        many instruct models) does not slip in underneath.
        """
        sampled = self.temperature > 0
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=sampled,
            temperature=self.temperature if sampled else 1.0,
            top_p=self.top_p if sampled and self.top_p is not None else 1.0,
            top_k=(self.top_k or 0) if sampled else 50,
            repetition_penalty=self.repetition_penalty or 1.0,
            eos_token_id=eos_ids or None,
            pad_token_id=pad_id,
            use_cache=True,
        )
