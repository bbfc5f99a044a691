"""One decoding for a batch of chat calls, which LangChain makes one by one.

Each call of a batch takes a seat. When every seat is either waiting with its request, or left
because its answer came from a cache, was streamed, or failed, the requests run together, in the
order of the seats: equal batches give equal answers, whichever thread came first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from sac_rag.errors import SACError

if TYPE_CHECKING:
    from sac_rag.engine import Answer, Request

_SEAT: ContextVar[Seat | None] = ContextVar("langchain_sac_seat", default=None)


class Seat:
    """One call's place at a table; it is used once.

    Args:
        table: Where the call's request is answered.
        index: Its place among the calls of the batch.
    """

    def __init__(self, table: Table | AsyncTable, index: int) -> None:
        self.table = table
        self.index = index
        self.taken = True

    def leave(self) -> None:
        """Let the others go on without this one."""
        if self.taken:
            self.taken = False
            self.table.step()


class Table:
    """Gathers the requests of calls in threads.

    Args:
        seats: How many calls there are.
    """

    def __init__(self, seats: int) -> None:
        self._lock = threading.Lock()
        self._missing = seats
        self._everyone = threading.Event()
        self._requests: dict[int, Request] = {}
        self._answers: Future[dict[int, Answer]] = Future()
        self._led = False

    def step(self) -> None:
        """Count one call that waits or has left."""
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._everyone.set()

    def answer(
        self, index: int, request: Request, run: Callable[[list[Request]], list[Answer]]
    ) -> Answer:
        """Wait for the others and give this request's answer from the common run."""
        with self._lock:
            self._requests[index] = request
        self.step()
        self._everyone.wait()
        with self._lock:
            leads, self._led = not self._led, True
        if leads:
            try:
                order = sorted(self._requests)
                answers = run([self._requests[seat] for seat in order])
                self._answers.set_result(dict(zip(order, answers, strict=True)))
            except BaseException as error:
                self._answers.set_exception(error)
        try:
            return self._answers.result()[index]
        except SACError:
            if len(self._requests) == 1:
                raise
        # One of them was refused, which must not take its neighbours with it.
        return run([request])[0]


class AsyncTable:
    """Gathers the requests of calls in one event loop.

    Args:
        seats: How many calls there are.
    """

    def __init__(self, seats: int) -> None:
        self._missing = seats
        self._everyone = asyncio.Event()
        self._requests: dict[int, Request] = {}
        self._waiting = 0
        self._run: asyncio.Task[dict[int, Answer]] | None = None

    def step(self) -> None:
        """Count one call that waits or has left."""
        self._missing -= 1
        if self._missing == 0:
            self._everyone.set()

    async def answer(
        self, index: int, request: Request, run: Callable[[list[Request]], Awaitable[list[Answer]]]
    ) -> Answer:
        """Wait for the others and give this request's answer from the common run.

        The run is cancelled when all that wait for it are.
        """
        self._requests[index] = request
        self._waiting += 1
        self.step()
        try:
            await self._everyone.wait()
            if self._run is None:
                self._run = asyncio.ensure_future(self._together(run))
            return (await asyncio.shield(self._run))[index]
        except asyncio.CancelledError:
            self._waiting -= 1
            if self._waiting == 0 and self._run is not None:
                self._run.cancel()
            raise
        except SACError:
            if len(self._requests) == 1:
                raise
        return (await run([request]))[0]

    async def _together(
        self, run: Callable[[list[Request]], Awaitable[list[Answer]]]
    ) -> dict[int, Answer]:
        order = sorted(self._requests)
        answers = await run([self._requests[seat] for seat in order])
        return dict(zip(order, answers, strict=True))


@contextmanager
def seated(table: Table | AsyncTable, index: int) -> Iterator[None]:
    """Take a seat for the calls made inside; it is left at the end, whatever happens."""
    seat = Seat(table, index)
    token = _SEAT.set(seat)
    try:
        yield
    finally:
        _SEAT.reset(token)
        seat.leave()


def take_seat() -> Seat | None:
    """Return the seat to answer from, once; None outside a batch."""
    seat = _SEAT.get()
    if seat is None or not seat.taken:
        return None
    seat.taken = False
    return seat


def leave_seat() -> None:
    """Let the other calls of the batch go on without this one."""
    seat = _SEAT.get()
    if seat is not None:
        seat.leave()
