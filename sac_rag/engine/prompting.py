"""Requests to decoder prompts: anchors first, in order of appearance, then all text."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sac_rag.adapter import read_sink
from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.compressor import Compressed, Compressor
from sac_rag.engine.joining import Joins
from sac_rag.engine.requests import ChatText, Document, Request, Stored
from sac_rag.errors import ContextOverflowError, EmptyInputError
from sac_rag.generation import GenerationParams, Prompt


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A prompt and the part of its usage that is known before decoding."""

    prompt: Prompt
    """For the decoder."""
    counts: dict[str, Any]
    """Fields of ``Usage``."""


class PromptBuilder:
    """Builds prompts with one compressor.

    Args:
        compressor: Gives documents' anchors.
    """

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._adapter = compressor.adapter
        self._tokens = compressor.tokens
        self._read_sink: AnchorCache | None = None

    def joins(self) -> Joins:
        """Give what joins documents, to be shared by prompts that may want the same ones."""
        return Joins(inv_freq=self._adapter.backbone.inv_freq, sink=self._sink)

    def build(
        self,
        requests: Sequence[Request],
        *,
        params: GenerationParams,
        cancel: threading.Event | None = None,
        joins: Joins | None = None,
    ) -> list[Built]:
        """Compress all documents of all requests together and lay each request's prompt.

        Requests for the same documents in the same order get one and the same anchors.

        Args:
            requests: What is asked.
            params: Settings of the answers.
            cancel: When set, compressing stops at the next batch.
            joins: From ``joins``, to remember beyond this call.

        Raises:
            ContextOverflowError: If a prompt with its answer does not fit the model's window.
            ConfigError: If the adapter is query-aware, and a request with documents asks nothing.
            EmptyInputError: If a request holds no text.
        """
        wanted = [[one for one in request.segments if _is_compressed(one)] for request in requests]
        made = self._compressor.compress(
            [one for row in wanted for one in row],  # type: ignore[misc]
            questions=self._questions(requests, wanted),
            cancel=cancel,
        )
        joins = joins or self.joins()
        built = []
        for request, row in zip(requests, wanted, strict=True):
            mine, made = made[: len(row)], made[len(row) :]
            built.append(self._build(request, mine, params, joins))
        return built

    def _questions(
        self, requests: Sequence[Request], wanted: Sequence[Sequence[object]]
    ) -> list[str | None] | None:
        """Say what each document is asked, if that matters to its anchors."""
        if not self._compressor.wants.query_aware:
            return None
        rows = zip(requests, wanted, strict=True)
        return [request.question for request, row in rows for _ in row]

    def count_text(self, request: Request) -> int:
        """Count the text tokens of a prompt as ``build`` would lay it, BOS included."""
        has_anchors = any(_is_compressed(one) for one in request.segments)
        return len(self._text_ids(request, has_anchors=has_anchors))

    def _build(
        self, request: Request, mine: list[Compressed], params: GenerationParams, joins: Joins
    ) -> Built:
        token_ids = self._text_ids(request, has_anchors=bool(mine))
        learned = mine and self._adapter.config.task_token
        prompt = Prompt(
            token_ids=token_ids,
            anchors=joins.of(mine) if mine else None,
            task_embedding=self._adapter.method.task_embedding() if learned else None,
        )
        self._check_window(prompt, params)
        num_anchors = sum(len(one.cache) for one in mine)
        source_tokens = sum(one.cache.num_tokens for one in mine)
        encoded = sum(len(one.cache) for one in mine if one.encoded)
        counts = {
            "prompt_tokens": len(token_ids),
            "anchors": num_anchors,
            "source_tokens": source_tokens,
            "ratio": source_tokens / num_anchors if num_anchors else None,
            "anchors_loaded": num_anchors - encoded,
            "anchors_encoded": encoded,
            "encode_s": sum(one.encode_s for one in mine),
            "load_s": sum(one.load_s for one in mine),
        }
        return Built(prompt=prompt, counts=counts)

    def _text_ids(self, request: Request, *, has_anchors: bool) -> list[int]:
        """Write all text of a request; one BOS stands first, unless anchors carry it."""
        token_ids: list[int] = []
        separator = self._tokens.encode(self._adapter.config.prompt.document_separator)
        in_full = 0
        for segment in request.segments:
            if isinstance(segment, ChatText):
                token_ids += self._tokens.encode_template(segment.text)
            elif isinstance(segment, str):
                token_ids += self._tokens.encode(segment)
            elif isinstance(segment, Document) and not segment.compressed:
                token_ids += (separator if in_full else []) + self._in_full(segment)
                in_full += 1
            elif not _is_compressed(segment):
                raise TypeError(
                    "a segment is a str, ChatText, Document, Stored or AnchorCache, got "
                    f"{type(segment).__name__}"
                )
        bos = self._tokens.bos_id
        begins_with_bos = bos is not None and token_ids[:1] == [bos]
        if has_anchors and begins_with_bos:
            token_ids = token_ids[1:]
        elif not has_anchors and bos is not None and not begins_with_bos:
            token_ids = [bos, *token_ids]
        if not token_ids or token_ids == [bos]:
            raise EmptyInputError("the prompt holds no text behind the documents; ask something")
        return token_ids

    def _in_full(self, document: Document) -> list[int]:
        seen = self._compressor.seen_ids(document)
        return seen if self._tokens.bos_id is None else seen[1:]

    def _sink(self) -> AnchorCache | None:
        """Give the frozen model's BOS at position 0, read once; None if the adapter wants none."""
        if self._adapter.config.sink and self._read_sink is None:
            self._read_sink = read_sink(self._adapter, self._tokens.bos_id)
        return self._read_sink

    def _check_window(self, prompt: Prompt, params: GenerationParams) -> None:
        window = self._adapter.backbone.window
        needed = prompt.last_position + 1 + params.max_new_tokens
        if needed <= window:
            return
        context = 0 if prompt.anchors is None else prompt.anchors.span
        raise ContextOverflowError(
            f"the prompt needs {needed} positions ({context} for documents behind anchors, "
            f"{len(prompt.token_ids)} for text, {params.max_new_tokens} for the answer), the model "
            f"has {window}; give fewer or shorter documents, or a smaller max_new_tokens",
            requested=needed,
            available=window,
        )


def _is_compressed(segment: object) -> bool:
    if isinstance(segment, Document):
        return segment.compressed
    return isinstance(segment, AnchorCache | Stored)
