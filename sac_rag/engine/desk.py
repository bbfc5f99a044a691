"""Handles given out and taken back: documents inside a prompt's text."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sac_rag.anchor_cache import AnchorCache
from sac_rag.engine.compressor import Compressor
from sac_rag.engine.requests import Document, Segment, Stored
from sac_rag.errors import ConfigError
from sac_rag.handles import Handle, contains_handle, issue, split


class HandleDesk:
    """Issues and resolves the handles of one store.

    Args:
        compressor: Compresses into that store.
    """

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._store = compressor.store

    def issue(
        self,
        documents: Sequence[Document | Stored | AnchorCache],
        *,
        cancel: threading.Event | None = None,
    ) -> list[Handle]:
        """Compress and store documents; give a handle for each (see ``SACEngine.issue``)."""
        handles = []
        for one in self._compressor.compress(documents, cancel=cancel):
            if one.write_error is not None:
                raise one.write_error
            if one.key is None:
                raise ConfigError("an AnchorCache has no text to store; give the document's text")
            text = issue(
                self._store.secret,
                namespace=self._store.namespace,
                key=one.key,
                num_anchors=len(one.cache),
            )
            handles.append(Handle(key=one.key, num_anchors=len(one.cache), text=text))
        return handles

    def resolve(self, text: str) -> list[Segment]:
        """Read a prompt with handles as segments; a document named twice stands once.

        White space before a handle only parted documents; anchors need no parting, so it goes.
        """
        segments: list[Segment] = []
        named: set[str] = set()
        for part in self._split(text):
            if not isinstance(part, Handle):
                segments.append(part)
                continue
            if segments and isinstance(segments[-1], str) and not segments[-1].strip():
                segments.pop()
            if part.key not in named:
                named.add(part.key)
                segments.append(Stored(key=part.key, num_anchors=part.num_anchors))
        return segments

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens; a handle in it counts as its anchors."""
        return sum(
            part.num_anchors if isinstance(part, Handle) else self._compressor.tokens.count(part)
            for part in self._split(text)
        )

    def _split(self, text: str) -> list[str | Handle]:
        if not contains_handle(text):
            return [text]
        return split(text, secret=self._store.secret, namespace=self._store.namespace)
