"""A chat model's batch: LangChain's calls one by one, the engine's work together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list, get_executor_for_config

from langchain_sac.tables import AsyncTable, Table, seated

T = TypeVar("T")
Configs = RunnableConfig | list[RunnableConfig] | None

GROUP = 32
"""Calls that wait for each other at most; each takes a thread."""


def run_batch(
    call: Callable[[Any, RunnableConfig], T],
    inputs: Sequence[Any],
    config: Configs,
    *,
    return_exceptions: bool,
) -> list[T]:
    """Make the calls in threads, ``max_concurrency`` or 32 at a time; results in order."""
    answers: list[Any] = []
    for group, configs in _groups(inputs, config):
        table = Table(len(group))

        def one(index: int, given: Any, its_config: RunnableConfig, table: Table = table) -> Any:
            with seated(table, index):
                try:
                    return call(given, its_config)
                except Exception as error:
                    if return_exceptions:
                        return error
                    raise

        # As many threads as calls, because each waits for all others.
        with get_executor_for_config({"max_concurrency": len(group)}) as executor:
            answers += executor.map(one, range(len(group)), group, configs)
    return answers


async def arun_batch(
    call: Callable[[Any, RunnableConfig], Awaitable[T]],
    inputs: Sequence[Any],
    config: Configs,
    *,
    return_exceptions: bool,
) -> list[T]:
    """Make the calls in one event loop, ``max_concurrency`` or 32 at a time; results in order."""

    async def one(index: int, given: Any, its_config: RunnableConfig, table: AsyncTable) -> T:
        with seated(table, index):
            return await call(given, its_config)

    answers: list[Any] = []
    for group, configs in _groups(inputs, config):
        table = AsyncTable(len(group))
        calls = [
            one(index, given, its, table)
            for index, (given, its) in enumerate(zip(group, configs, strict=True))
        ]
        answers += await asyncio.gather(*calls, return_exceptions=return_exceptions)
    return answers


def _groups(
    inputs: Sequence[Any], config: Configs
) -> Iterator[tuple[Sequence[Any], list[RunnableConfig]]]:
    if not inputs:
        return
    configs = get_config_list(config, len(inputs))
    size = configs[0].get("max_concurrency") or GROUP
    for first in range(0, len(inputs), size):
        yield inputs[first : first + size], configs[first : first + size]
