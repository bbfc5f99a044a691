"""What an open engine is and works with: identity, tokenizer, counts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sac_rag.adapter import Adapter
from sac_rag.engine.compressor import Compressor
from sac_rag.engine.desk import HandleDesk
from sac_rag.engine.loading import Loaded
from sac_rag.engine.prompting import PromptBuilder
from sac_rag.engine.requests import (
    ChatText,
    Document,
    DocumentLike,
    Request,
    as_segment,
)
from sac_rag.prompts import PromptFormat
from sac_rag.tokens import Tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What an open engine works with."""

    loaded: Loaded
    compressor: Compressor
    prompts: PromptBuilder
    desk: HandleDesk


class Facts:
    """What can be asked of an engine without using its model."""

    def _open(self) -> Parts:
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """Hash of model, adapter, settings and format: caches join only within it."""
        return self._open().loaded.adapter.method.fingerprint

    @property
    def adapter(self) -> Adapter:
        """The adapter: its config, method and backbone."""
        return self._open().loaded.adapter

    @property
    def ratio(self) -> int:
        """Tokens per anchor, unless a document asks for another of ``ratios``."""
        return self._open().loaded.adapter.config.compress.ratio

    @property
    def ratios(self) -> tuple[int, ...]:
        """Tokens per anchor that documents can ask for; their anchors join in one prompt."""
        return self._open().loaded.adapter.config.compress.served

    @property
    def query_aware(self) -> bool:
        """Whether documents are compressed for one question, which then must come with them."""
        return self._open().loaded.adapter.config.query_aware

    @property
    def chunk_size(self) -> int:
        """Most tokens that are encoded together."""
        return self._open().loaded.adapter.config.compress.chunk_size

    @property
    def window(self) -> int:
        """Positions that the model was made for, in tokens."""
        return self._open().loaded.adapter.backbone.window

    @property
    def prompt_format(self) -> PromptFormat:
        """How documents and questions are written for this adapter."""
        return self._open().loaded.adapter.config.prompt

    @property
    def tokens(self) -> Tokens:
        """The tokenizer, see ``sac_rag.tokens.Tokens``."""
        return self._open().loaded.tokens

    @property
    def inv_freq(self) -> Tensor:
        """RoPE frequencies, (K / 2,): what ``join`` and ``AnchorCache.relocate`` take."""
        return self._open().loaded.adapter.backbone.inv_freq

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens; a handle in it counts as its anchors."""
        return self._open().desk.count_tokens(text)

    def count_prompt(self, request: Request) -> int:
        """Count what a request takes in the prompt, text tokens and anchors; compresses nothing."""
        anchors = sum(
            self.count_anchors(one)
            for one in request.segments
            if not isinstance(one, str | ChatText)
            and not (isinstance(one, Document) and not one.compressed)
        )
        return anchors + self._open().prompts.count_text(request)

    def count_anchors(self, document: DocumentLike) -> int:
        """Count the anchors that would stand for a document, without compressing it."""
        return self._open().compressor.count_anchors(as_segment(document))

    def count_positions(self, document: DocumentLike) -> int:
        """Count the positions of the window that a document takes, without compressing it.

        Anchors keep the places of their text's tokens, so it is the text's length, whatever the
        ratio. Of a handle's ``Stored`` the store knows it; where all is lost it is a bound.
        """
        return self._open().compressor.count_positions(as_segment(document))
