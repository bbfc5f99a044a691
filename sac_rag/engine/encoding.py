"""What the store lacks is encoded: documents to chunks, batches, anchors, and into the store."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache, cat
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.codecs.names import EXACT
from sac_rag.engine.batching import Batches, free_tokens
from sac_rag.engine.requests import Document
from sac_rag.errors import StoreWriteError
from sac_rag.store import AnchorStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """A document's anchors and how they came."""

    cache: AnchorCache
    """The anchors, standing alone, from position 1."""
    key: str | None = None
    """Their key in the store; None for a cache that the caller gave."""
    encoded: bool = False
    """Whether they had to be encoded now."""
    encode_s: float = 0.0
    """Seconds of encoding, a document's share of its batch by tokens."""
    load_s: float = 0.0
    """Seconds of reading the store."""
    write_error: StoreWriteError | None = None
    """Why the anchors are not in the store, if they are not."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A document whose anchors the store does not have."""

    key: str
    document: Document
    seen_ids: Sequence[int]
    """As the encoder reads it: BOS, prefix, title, text."""
    ratio: int
    """Tokens per anchor."""
    question_ids: tuple[int, ...]
    """Read behind each chunk, in query-aware mode."""
    question: str | None = None
    """What they say, kept beside the text: a handle's anchors serve it alone."""


@dataclass(kw_only=True)
class _Document:
    missing: Missing
    parts: list[tuple[int, AnchorCache]] = field(default_factory=list)
    seconds: float = 0.0


class Encoder:
    """Encodes documents with one adapter into one store, each as soon as its last chunk is done.

    Args:
        adapter: Method and backbone.
        store: Where anchors are kept.
    """

    def __init__(self, adapter: Adapter, *, store: AnchorStore) -> None:
        self._adapter = adapter
        self._store = store
        self.batches = Batches(
            self._compress,
            tokens=partial(free_tokens, adapter.backbone),
            full=adapter.config.compress.chunk_size,
        )

    def encode(
        self, missing: Sequence[Missing], *, cancel: threading.Event | None = None
    ) -> dict[str, Compressed]:
        """Encode documents, all their chunks together; give each under its key.

        What is done when ``cancel`` is set, or memory ends, is in the store.
        """
        chunks: list[Chunk] = []
        owners: list[str] = []
        for one in missing:
            parts = split_chunks(
                list(one.seen_ids),
                chunk_size=self._adapter.config.compress.chunk_size,
                ratio=one.ratio,
                question_ids=one.question_ids,
            )
            chunks += parts
            owners += [one.key] * len(parts)
        left = Counter(owners)
        documents = {one.key: _Document(missing=one) for one in missing}
        made: dict[str, Future[Compressed]] = {}
        with _writing(self._adapter.backbone.device) as writer:
            for done in self.batches.run(chunks, cancel=cancel):
                per_token = done.seconds / sum(len(chunks[index]) for index in done.indices)
                for index, cache in zip(done.indices, done.caches, strict=True):
                    key, chunk = owners[index], chunks[index]
                    document = documents[key]
                    document.parts.append((chunk.start, cache))
                    document.seconds += per_token * len(chunk)
                    left[key] -= 1
                    if not left[key]:
                        whole = documents.pop(key)
                        cache = cat([part for _, part in sorted(whole.parts, key=_start)])
                        host = copy_out(cache) if self._store.codec == EXACT else lambda c=cache: c
                        made[key] = writer.submit(self._keep, whole, cache, host)
        return {one.key: made[one.key].result() for one in missing}

    def _compress(self, chunks: list[Chunk]) -> list[AnchorCache]:
        with torch.inference_mode():
            caches = self._adapter.method.compress_chunks(chunks)
        if self._adapter.backbone.device.type == "cuda":
            torch.cuda.synchronize(self._adapter.backbone.device)  # so that times are true
        return caches

    def _keep(
        self, document: _Document, cache: AnchorCache, copied: Callable[[], AnchorCache]
    ) -> Compressed:
        one = document.missing
        made = Compressed(cache=cache, key=one.key, encoded=True, encode_s=document.seconds)
        host = copied()
        try:
            kept = self._store.put(
                one.key,
                host,
                text=one.document.text,
                title=one.document.title,
                question=one.question,
                inv_freq=self._adapter.backbone.inv_freq,
            )
            # as a later question will find it: the first answer must not be a better one
            made = replace(made, cache=cache if kept is host else kept)
        except StoreWriteError as error:
            logger.warning("anchors could not be stored and will be encoded again: %s", error)
            made = replace(made, write_error=error)
        return made


class _AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn: Callable, /, *args: object, **kwargs: object) -> Future:
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _writing(device: torch.device) -> Iterator[Executor]:
    """Write beside a GPU's work in a thread; a CPU has no time beside its own."""
    with ThreadPoolExecutor(1) if device.type == "cuda" else _AtOnce() as writer:
        yield writer


def copy_out(cache: AnchorCache) -> Callable[[], AnchorCache]:
    """Give what copies anchors off a GPU, through pinned memory, beside the GPU's other work.

    Called now and run in another thread: the copy waits for what stands in this thread's stream
    now, and not for the pass that comes behind it.
    """
    device = cache.keys.device
    if device.type != "cuda":
        return lambda: cache
    ready = torch.cuda.Event()
    ready.record(torch.cuda.current_stream(device))

    def pinned(tensor: Tensor) -> Tensor:
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def copy() -> AnchorCache:
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            stream.wait_event(ready)
            host = replace(
                cache,
                keys=pinned(cache.keys),
                values=pinned(cache.values),
                positions=pinned(cache.positions),
            )
        stream.synchronize()
        return host

    return copy


def _start(part: tuple[int, AnchorCache]) -> int:
    return part[0]
