"""An answer as it comes: a worker generates, the reader takes pieces, either may stop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from sac_rag.engine.usage import Answer
from sac_rag.errors import GenerationCancelledError


class AnswerStream(Iterator[str]):
    """Iterates over text pieces; errors of the worker are raised here, at once.

    Args:
        run: Called in a worker thread with ``on_text`` and ``cancel``; gives the answer.
        workers: Where to run it.
    """

    def __init__(self, run: Callable[..., Answer], *, workers: Executor) -> None:
        self.answer: Answer | None = None
        """Text and usage, once the stream has ended."""
        self._cancel = threading.Event()
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ended = False
        self._future = workers.submit(self._work, run)

    def __next__(self) -> str:
        if self._ended:
            raise StopIteration
        piece = self._pieces.get()
        if piece is not None:
            return piece
        self._ended = True
        try:
            self.answer = self._future.result()
        except GenerationCancelledError:
            if not self._cancel.is_set():
                raise
        raise StopIteration

    def close(self) -> None:
        """Stop the work at the next token, and the stream with it."""
        self._cancel.set()
        if self._future.cancel():
            self._pieces.put(None)

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._cancel.set()

    def _work(self, run: Callable[..., Answer]) -> Answer:
        try:
            return run(on_text=self._take, cancel=self._cancel)
        finally:
            self._pieces.put(None)

    def _take(self, row: int, piece: str, **_: Any) -> None:
        self._pieces.put(piece)
