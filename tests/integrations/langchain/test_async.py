"""The event loop is never blocked, and cancelling stops the work."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from langchain_sac import SACDocumentCompressor

from sac_rag.errors import ContextOverflowError

LONG = 1500
"""Tokens that nobody waits for."""


async def longest_pause(work) -> float:
    """Run ``work`` beside a ticking coroutine; give the longest time between two ticks."""
    pauses = [0.0]

    async def tick():
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    await work
    took = time.perf_counter() - began
    ticking.cancel()
    return max(pauses) / took


@pytest.fixture(params=["llm", "chat"])
def model(request):
    return request.getfixturevalue(request.param)


async def consume(stream):
    return [piece async for piece in stream]


async def test_calls_do_not_block(model, documents):
    calls = [model.ainvoke("Who?", documents=documents, max_tokens=60) for _ in range(4)]
    assert await longest_pause(asyncio.gather(*calls)) < 0.5
    assert await longest_pause(model.abatch(["Who?"] * 3, max_tokens=60)) < 0.5
    assert await longest_pause(consume(model.astream("Who?", max_tokens=60))) < 0.5


async def test_loading_does_not_block(tiny_folders, documents):
    base, adapter = tiny_folders
    compressor = SACDocumentCompressor.from_pretrained(base, adapter=adapter)
    assert await longest_pause(compressor.acompress_documents(documents, "")) < 0.9
    compressor.close()


@pytest.mark.parametrize("how", ["ainvoke", "abatch", "astream"])
async def test_cancelling_frees_the_model(model, how):
    def run(max_tokens):
        if how == "astream":
            return consume(model.astream("Who?", max_tokens=max_tokens))
        given = ["Who?", "Where?"] if how == "abatch" else "Who?"
        return getattr(model, how)(given, max_tokens=max_tokens)

    task = asyncio.create_task(run(LONG))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    began = time.perf_counter()
    await run(1)
    freed_after = time.perf_counter() - began
    began = time.perf_counter()
    await run(150)
    assert freed_after < time.perf_counter() - began


async def test_leaving_a_stream_early_frees_the_model(model):
    async with contextlib.aclosing(model.astream("Who?", max_tokens=LONG)) as pieces:
        async for _ in pieces:
            break
    began = time.perf_counter()
    await model.ainvoke("Who?", max_tokens=1)
    freed_after = time.perf_counter() - began
    began = time.perf_counter()
    await model.ainvoke("Who?", max_tokens=150)
    assert freed_after < time.perf_counter() - began


async def test_the_workers_error_reaches_the_caller(model):
    words = "word " * 1000
    with pytest.raises(ContextOverflowError):
        await model.ainvoke(words)
    with pytest.raises(ContextOverflowError):
        await consume(model.astream(words))


async def test_a_refused_conversation_takes_no_other_with_it(chat):
    """In threads and in a loop; without ``return_exceptions`` the batch raises."""
    given = ["Who?", "word " * 1000, "Why?"]
    # the others are then answered alone, as they are here: equal to the last bit
    expected = [chat.invoke(given[0]).text, chat.invoke(given[2]).text]
    for answers in (
        chat.batch(given, return_exceptions=True),
        await chat.abatch(given, return_exceptions=True),
    ):
        assert isinstance(answers[1], ContextOverflowError)
        assert [answers[0].text, answers[2].text] == expected
    with pytest.raises(ContextOverflowError):
        chat.batch(given)
