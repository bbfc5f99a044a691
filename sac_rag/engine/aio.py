"""The engine's calls for an event loop: nothing blocks it, and cancelling stops the work."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sac_rag.engine.requests import DocumentLike, Request
from sac_rag.engine.usage import Answer
from sac_rag.generation import GenerationParams

T = TypeVar("T")


def generation_params(max_new_tokens: int, sampling: Mapping[str, Any]) -> GenerationParams:
    """Read the settings of a call; a name that is not known raises ``TypeError``."""
    return GenerationParams(max_new_tokens=max_new_tokens).with_changes(sampling)


class AsyncCalls:
    """Async twins of the engine's calls."""

    if TYPE_CHECKING:
        _workers: Executor
        _run_one: Callable[..., Answer]
        generate: Callable[..., list[Answer]]
        request: Callable[..., Request]

    async def aanswer(
        self,
        question: str,
        documents: Sequence[DocumentLike],
        max_new_tokens: int = 64,
        *,
        compress: bool = True,
        **sampling: Any,
    ) -> Answer:
        """Answer without blocking the event loop; cancelling the task stops the work."""
        params = generation_params(max_new_tokens, sampling)
        request = self.request(question, documents, compress=compress)
        return (await self.agenerate([request], params))[0]

    async def agenerate(
        self, requests: Sequence[Request], params: GenerationParams | None = None, **sampling: Any
    ) -> list[Answer]:
        """Answer requests without blocking the event loop; cancelling the task stops the work."""
        run = partial(self.generate, requests, params, **sampling)
        return await in_thread(run, workers=self._workers)

    async def astream(
        self,
        question: str,
        documents: Sequence[DocumentLike],
        max_new_tokens: int = 64,
        *,
        compress: bool = True,
        **sampling: Any,
    ) -> AsyncGenerator[str, None]:
        """Answer piece by piece without blocking; closing or cancelling stops the work."""
        params = generation_params(max_new_tokens, sampling)
        request = self.request(question, documents, compress=compress)
        async with contextlib.aclosing(self.astream_request(request, params)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece

    def astream_request(
        self, request: Request, params: GenerationParams
    ) -> AsyncGenerator[str | Answer, None]:
        """Answer one request piece by piece; the last item is the ``Answer`` with its usage."""
        return stream_in_thread(partial(self._run_one, request, params), workers=self._workers)


async def in_thread(run: Callable[..., T], *, workers: Executor) -> T:
    """Run ``run(cancel=...)`` in a worker; if the task is cancelled, so is the work."""
    cancel = threading.Event()
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(workers, partial(run, cancel=cancel))
    except asyncio.CancelledError:
        cancel.set()
        raise


async def stream_in_thread(
    run: Callable[..., Answer], *, workers: Executor
) -> AsyncGenerator[str | Answer, None]:
    """Run ``run(on_text=..., cancel=...)`` in a worker; give its pieces, then its answer."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[str | None] = asyncio.Queue()
    cancel = threading.Event()

    def put(piece: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and the reader with it
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    def work() -> Answer:
        try:
            return run(on_text=lambda row, piece: put(piece), cancel=cancel)
        finally:
            put(None)

    future = loop.run_in_executor(workers, work)
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
        yield await future
    finally:
        cancel.set()
        future.add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future) -> None:
    """Look at an abandoned worker's error, so that the loop does not report it as unseen."""
    if not future.cancelled():
        future.exception()
