"""LangChain's cache: nothing that decides an answer is missing from its key."""

from __future__ import annotations

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_plaintext_block
from langchain_sac import ChatSAC, SACCompressedLLM

from sac_rag import SACEngine

QUESTION = "Where?"
ONE, OTHER = ["Ashford lies on the river Lune."], ["Bree was founded in 1402 by two millers."]


@pytest.fixture(params=[SACCompressedLLM, ChatSAC])
def cached(request, shared_engine):
    return request.param.from_engine(shared_engine, max_tokens=8, cache=InMemoryCache())


def text_of(answer):
    return answer if isinstance(answer, str) else answer.text


def test_documents_never_share_an_answer_and_equal_ones_hit(cached, generate_calls):
    first = text_of(cached.invoke(QUESTION, documents=ONE))
    other = text_of(cached.invoke(QUESTION, documents=OTHER))
    assert first != other
    assert len(generate_calls) == 2
    assert text_of(cached.invoke(QUESTION, documents=ONE)) == first
    assert text_of(cached.bind(documents=OTHER).invoke(QUESTION)) == other
    assert text_of(cached.batch([QUESTION], documents=ONE)[0]) == first
    assert len(generate_calls) == 2


async def test_documents_in_async_calls(cached, generate_calls):
    first = text_of(await cached.ainvoke(QUESTION, documents=ONE))
    assert text_of(await cached.ainvoke(QUESTION, documents=OTHER)) != first
    assert text_of(await cached.ainvoke(QUESTION, documents=ONE)) == first
    assert len(generate_calls) == 2


def test_settings_per_call_never_share_an_answer(cached, generate_calls):
    calls = [{}, {"max_tokens": 3}, {"temperature": 2.0, "seed": 1}, {"stop": ["e"]}]
    answers = [text_of(cached.invoke(QUESTION, **call)) for call in calls]
    assert len(generate_calls) == len(calls)
    assert [text_of(cached.invoke(QUESTION, **call)) for call in calls] == answers
    assert len(generate_calls) == len(calls)


def test_another_codec_never_shares_an_answer(tiny_folders, generate_calls, tmp_path):
    base, adapter = tiny_folders
    cache = InMemoryCache()
    for settings in ({}, {"codec": "int4"}, {"codec": "int4"}):
        llm = SACCompressedLLM.from_pretrained(
            base, adapter=adapter, store=tmp_path, max_tokens=4, cache=cache, **settings
        )
        llm.invoke(QUESTION, documents=ONE)
        assert llm.engine.store.codec == llm.codec == settings.get("codec", "exact")
        twin = SACCompressedLLM.from_engine(llm.engine, max_tokens=4, cache=cache)
        assert twin.codec == llm.codec
        opened = SACCompressedLLM.from_pretrained(base, store=llm.engine.store)
        assert opened.codec == llm.codec
        llm.close()
    assert len(generate_calls) == 2


def test_another_namespace_or_model_never_shares_an_answer(tiny_folders, generate_calls):
    base, adapter = tiny_folders
    cache = InMemoryCache()
    for settings in ({"adapter": adapter}, {"adapter": adapter, "namespace": "b"}, {}):
        with SACEngine.from_pretrained(base, **settings) as engine:
            model = SACCompressedLLM.from_engine(engine, max_tokens=4, cache=cache)
            model.invoke(QUESTION)
    assert len(generate_calls) == 3


def test_a_model_loaded_by_the_first_call_hits_with_the_second(tiny_folders, generate_calls):
    base, adapter = tiny_folders
    for kind in (SACCompressedLLM, ChatSAC):
        model = kind.from_pretrained(base, adapter=adapter, max_tokens=4, cache=InMemoryCache())
        assert text_of(model.invoke(QUESTION)) == text_of(model.invoke(QUESTION))
        model.close()
    assert len(generate_calls) == 2


def test_blocks_with_random_ids_hit(shared_engine, generate_calls):
    chat = ChatSAC.from_engine(shared_engine, max_tokens=4, cache=InMemoryCache())
    for _ in range(2):
        block = create_plaintext_block(text=ONE[0])
        chat.invoke([HumanMessage(content=[block, {"type": "text", "text": QUESTION}])])
    assert len(generate_calls) == 1


def test_a_rendered_conversation_and_the_same_plain_text_do_not_meet(shared_engine, generate_calls):
    llm = SACCompressedLLM.from_engine(shared_engine, max_tokens=4, cache=InMemoryCache())
    llm.invoke([HumanMessage(QUESTION)])
    llm.invoke(shared_engine.tokens.render_chat([{"role": "user", "content": QUESTION}]))
    assert len(generate_calls) == 2
