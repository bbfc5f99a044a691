"""Laws of the async endpoints: the loop goes on, and a stopped task stops the work."""

from __future__ import annotations

import asyncio
import time

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import NodeWithScore, TextNode

from sac_rag.errors import ContextOverflowError
from tests.integrations.llama_index.conftest import TEXTS

LONG = 1500
"""Tokens that take the tiny model ten seconds and more."""
PROMPT_S = 4.0
"""Seconds within which a freed model answers, on a busy machine."""


async def longest_pause_beside(work) -> float:
    """Run some work beside a ticking coroutine; give its longest pause, in seconds."""
    pauses = []

    async def tick():
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            pauses.append(time.perf_counter() - last)
            last = time.perf_counter()

    ticking = asyncio.create_task(tick())
    await work
    ticking.cancel()
    assert len(pauses) > 5
    return max(pauses)


async def drain(stream) -> None:
    async for _ in await stream:
        pass


async def test_the_loop_goes_on_beside_every_endpoint(llm):
    messages = [ChatMessage(content="What?")]
    began = time.perf_counter()
    work = asyncio.gather(
        llm.acomplete("What?", max_new_tokens=60),
        llm.achat(messages, max_new_tokens=60),
        drain(llm.astream_complete("What?", max_new_tokens=60)),
        drain(llm.astream_chat(messages, max_new_tokens=60)),
    )
    pause = await longest_pause_beside(work)
    assert pause < max(0.25, (time.perf_counter() - began) / 4)


async def test_the_loop_goes_on_beside_compression(engine):
    from llama_index.postprocessor.sac import SACNodePostprocessor, SACPrecompress

    nodes = [TextNode(text=f"{i} " + "many words " * 120) for i in range(24)]
    post = SACNodePostprocessor.from_engine(engine)
    began = time.perf_counter()
    pause = await longest_pause_beside(
        post.apostprocess_nodes([NodeWithScore(node=node) for node in nodes])
    )
    assert pause < max(0.25, (time.perf_counter() - began) / 4)
    await SACPrecompress.from_engine(engine).acall(nodes)


@pytest.mark.parametrize("call", ["acomplete", "achat"])
async def test_a_cancelled_task_stops_the_work(llm, call):
    asked = "What?" if call == "acomplete" else [ChatMessage(content="What?")]
    task = asyncio.create_task(getattr(llm, call)(asked, max_new_tokens=LONG))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    began = time.perf_counter()
    await llm.acomplete("What?", max_new_tokens=2)  # waits for the model
    assert time.perf_counter() - began < PROMPT_S


async def test_a_stream_that_is_left_stops_the_work(llm):
    stream = await llm.astream_complete("What?", max_new_tokens=LONG)
    async for _ in stream:
        break
    await stream.aclose()
    began = time.perf_counter()
    await llm.acomplete("What?", max_new_tokens=2)
    assert time.perf_counter() - began < PROMPT_S


def test_a_sync_stream_that_is_left_stops_the_work(llm):
    stream = llm.stream_complete("What?", max_new_tokens=LONG)
    next(stream)
    stream.close()
    began = time.perf_counter()
    llm.complete("What?", max_new_tokens=2)
    assert time.perf_counter() - began < PROMPT_S


async def test_errors_of_the_worker_reach_the_caller(llm):
    with pytest.raises(ContextOverflowError):
        await llm.acomplete("What?", max_new_tokens=5000)
    with pytest.raises(ContextOverflowError):
        await drain(llm.astream_complete("What?", max_new_tokens=5000))


async def test_async_answers_are_the_sync_ones(llm, handles):
    prompts = [f"{handle} What is {text[:9]}?" for handle, text in zip(handles, TEXTS, strict=True)]
    together = await asyncio.gather(*(llm.acomplete(prompt) for prompt in prompts))
    assert [one.text for one in together] == [llm.complete(prompt).text for prompt in prompts]
