"""Answer a batch of prompts with transformers' own ``generate``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import StoppingCriteria, StoppingCriteriaList

from sac_rag.backbone import Backbone
from sac_rag.errors import GenerationCancelledError
from sac_rag.generation.assemble import Prompt, lay_out
from sac_rag.generation.cache import StandingCache
from sac_rag.generation.grouped import grouped_attention
from sac_rag.generation.params import GenerationParams
from sac_rag.generation.text import TextStream
from sac_rag.tokens import Tokens

OnText = Callable[[int, str], None]
"""Called with (row, piece of text) as soon as the piece may be shown."""


ROOM = 256
"""Tokens of an answer that the cache has room for from the start."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One row's answer and what it took."""

    text: str
    token_ids: list[int]
    """Generated tokens, the end token included."""
    finish_reason: str
    """``stop`` (end token or stop text) or ``length``."""
    stop_reason: str | None
    """The stop text that ended it, if one did."""
    prefill_s: float
    """Seconds from the laid-out request to its first token."""
    decode_s: float
    """Seconds from the first token to the last."""
    cache_bytes: int
    """Keys and values that the decoder started from, in bytes (this row, padding apart)."""


class _Watcher(StoppingCriteria):
    """Sees every new token: feeds the text streams, keeps the clock, stops rows and runs."""

    def __init__(
        self, streams: Sequence[TextStream], on_text: OnText | None, cancel: threading.Event | None
    ) -> None:
        self._streams = streams
        self._on_text = on_text
        self._cancel = cancel
        self.first_token_at: float | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        newest = input_ids[:, -1].tolist()
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()
        if self._cancel is not None and self._cancel.is_set():
            raise GenerationCancelledError("the caller stopped this generation")
        for row, (stream, token_id) in enumerate(zip(self._streams, newest, strict=True)):
            if stream.finish_reason is None:
                self._show(row, stream.push(token_id))
        done = [stream.finish_reason is not None for stream in self._streams]
        return torch.tensor(done, device=input_ids.device)

    def finish(self) -> None:
        for row, stream in enumerate(self._streams):
            self._show(row, stream.finish())

    def _show(self, row: int, piece: str) -> None:
        if piece and self._on_text is not None:
            self._on_text(row, piece)


@torch.inference_mode()
def complete(
    prompts: Sequence[Prompt],
    *,
    backbone: Backbone,
    tokens: Tokens,
    params: GenerationParams,
    on_text: OnText | None = None,
    cancel: threading.Event | None = None,
    standing: StandingCache | None = None,
) -> list[Completion]:
    """Generate an answer to each prompt, all in one batch, with the LoRA off.

    Args:
        prompts: Rows, any mixture of anchor counts and lengths.
        backbone: The model.
        tokens: Its tokenizer.
        params: Settings, the same for all rows.
        on_text: Told of every piece of text.
        cancel: When set, generation stops at the next token.
        standing: The anchors of the one prompt, laid out before; they stay so for the next.

    Raises:
        GenerationCancelledError: If ``cancel`` was set.
    """
    streams = [TextStream(tokens, stop=params.stop) for _ in prompts]
    watcher = _Watcher(streams, on_text, cancel)
    with backbone.decoding(), grouped_attention(backbone), _seeded(params.seed):
        if cancel is not None and cancel.is_set():
            raise GenerationCancelledError("the caller stopped this generation before it began")
        began = time.perf_counter()
        layout = lay_out(
            prompts,
            backbone=backbone,
            pad_id=tokens.pad_id,
            room_for=min(params.max_new_tokens, ROOM),
            standing=standing,
        )
        num_cached = layout.mask_BM.shape[1] - layout.ids_BP.shape[1]
        try:
            with _embeddings_given(backbone.decoder, layout.embeds_BPD):
                backbone.causal_lm.generate(  # type: ignore[operator]
                    input_ids=pad(layout.ids_BP, (num_cached, 0), value=tokens.pad_id),
                    attention_mask=layout.mask_BM,
                    position_ids=pad(layout.positions_BP, (num_cached, 0)),
                    past_key_values=layout.cache,
                    generation_config=params.to_config(
                        eos_ids=tokens.eos_ids, pad_id=tokens.pad_id
                    ),
                    stopping_criteria=StoppingCriteriaList([watcher]),
                )
        finally:
            if standing is not None:
                standing.rewind()
        watcher.finish()
        ended = time.perf_counter()
    first = watcher.first_token_at or ended
    return [
        Completion(
            text=stream.text,
            token_ids=stream.token_ids,
            finish_reason=stream.finish_reason or "length",
            stop_reason=stream.stop_reason,
            prefill_s=first - began,
            decode_s=ended - first,
            cache_bytes=_bytes_of(prompt, backbone),
        )
        for stream, prompt in zip(streams, prompts, strict=True)
    ]


@contextmanager
def _embeddings_given(decoder: Any, embeds_BPD: Tensor) -> Iterator[None]:
    """Let the decoder's first call read embeddings instead of ids: [LM] is no vocabulary row.

    So that one pass reads all of the prompt and gives the first token: a pass over few tokens
    costs as much as the reading of the weights.
    """

    def give(decoder: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        hook.remove()
        assert given["input_ids"].shape == embeds_BPD.shape[:2]
        return args, {**given, "input_ids": None, "inputs_embeds": embeds_BPD}

    hook = decoder.register_forward_pre_hook(give, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _bytes_of(prompt: Prompt, backbone: Backbone) -> int:
    """What stands in the cache for this row when the first token comes, in bytes."""
    num_anchors = 0 if prompt.anchors is None else len(prompt.anchors)
    num_cached = num_anchors + len(prompt.token_ids) + (prompt.task_embedding is not None)
    return num_cached * backbone.token_bytes


@contextmanager
def _seeded(seed: int | None):
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
