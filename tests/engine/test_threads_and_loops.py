"""Answers in threads and event loops: the same, and stopped when nobody wants them any more."""

from __future__ import annotations

import asyncio
import time

import pytest

from sac_rag import GenerationParams, Request
from sac_rag.errors import (
    GenerationCancelledError,
)
from tests.engine.test_answer import DOCUMENTS, QUESTION


def test_two_threads_get_their_own_answers(shared_engine):
    from concurrent.futures import ThreadPoolExecutor

    asked = [f"Question number {number}?" for number in range(6)]
    alone = [shared_engine.answer(question, DOCUMENTS, 8).text for question in asked]
    with ThreadPoolExecutor(3) as pool:
        together = list(
            pool.map(lambda question: shared_engine.answer(question, DOCUMENTS, 8).text, asked)
        )
    assert together == alone


async def test_async_twins_give_the_same(shared_engine):
    answer = shared_engine.answer(QUESTION, DOCUMENTS, max_new_tokens=16)
    assert (await shared_engine.aanswer(QUESTION, DOCUMENTS, max_new_tokens=16)).text == answer.text
    pieces = [piece async for piece in shared_engine.astream(QUESTION, DOCUMENTS, 16)]
    assert "".join(pieces) == answer.text


async def test_async_never_blocks_the_loop(shared_engine):
    gaps = []

    async def tick():
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    await asyncio.gather(
        *(shared_engine.aanswer(QUESTION, DOCUMENTS, max_new_tokens=100) for _ in range(3))
    )
    ticking.cancel()
    # a blocked loop would tick once per answer; a free one many times
    assert len(gaps) > 20


async def test_cancelling_stops_the_work_and_frees_the_model(endless_engine, monkeypatch):
    ended = []
    run = endless_engine._run

    def watched(*args, **kwargs):
        try:
            return run(*args, **kwargs)
        except BaseException as error:
            ended.append(error)
            raise

    monkeypatch.setattr(endless_engine, "_run", watched)
    task = asyncio.create_task(endless_engine.aanswer(QUESTION, DOCUMENTS, max_new_tokens=3000))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await endless_engine.aanswer(QUESTION, DOCUMENTS, max_new_tokens=2)
    assert [type(error) for error in ended] == [GenerationCancelledError]


async def test_leaving_an_async_stream_stops_the_work(endless_engine):
    stream = endless_engine.astream(QUESTION, DOCUMENTS, max_new_tokens=3000)
    async for _ in stream:
        break
    await stream.aclose()
    answer = await endless_engine.aanswer(QUESTION, DOCUMENTS, max_new_tokens=2)
    assert answer.usage.completion_tokens == 2


def test_closing_a_stream_stops_the_work(endless_engine):
    with endless_engine.stream(QUESTION, DOCUMENTS, max_new_tokens=3000) as stream:
        next(stream)
    with pytest.raises(GenerationCancelledError):
        stream._future.result(timeout=60)
    assert endless_engine.answer(QUESTION, DOCUMENTS, max_new_tokens=2)


def test_a_stream_raises_the_workers_error_at_once(shared_engine):
    request = shared_engine.request(QUESTION, DOCUMENTS)
    broken = Request(segments=[*request.segments, object()])
    stream = shared_engine.stream_request(broken, GenerationParams(max_new_tokens=1))
    with pytest.raises(TypeError, match="a segment is"):
        list(stream)
