"""A query-aware adapter in LangChain: what is asked reaches the encoder, or an error says so."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import PromptTemplate
from langchain_sac import ChatSAC, SACCompressedLLM

from sac_rag import SACEngine
from sac_rag.errors import ConfigError
from tests.integrations.langchain.test_chains import PLAIN, QUESTION, rag

OTHER = "What is exported?"
TEXTS = ["Ashford exports barley.", "The mayor of Carn keeps forty geese.", "Bree is old. " * 60]
DOCUMENTS = [Document(text) for text in TEXTS]


@pytest.fixture
def aware(query_aware_folders):
    base, adapter = query_aware_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


@pytest.fixture
def llm(aware):
    return SACCompressedLLM.from_engine(aware, max_tokens=12)


@pytest.fixture
def chat(aware):
    return ChatSAC.from_engine(aware, max_tokens=12, use_chat_template="never")


@pytest.fixture
def expected(query_aware_folders):
    """The answers of another engine on the adapter, whose store the tests do not see."""
    base, adapter = query_aware_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        return {
            asked: engine.answer(asked, TEXTS, max_new_tokens=12).text
            for asked in (QUESTION, OTHER)
        }


def keys(engine, question):
    return {engine.key_of(text, question=question) for text in TEXTS}


def test_a_retrieval_chain_compresses_for_its_question(llm, aware, expected):
    chain = rag(llm, DOCUMENTS, PLAIN)
    assert chain.invoke({"input": QUESTION})["answer"] == expected[QUESTION]
    assert set(aware.store.keys()) == keys(aware, QUESTION)
    assert chain.invoke({"input": OTHER})["answer"] == expected[OTHER]
    assert set(aware.store.keys()) == keys(aware, QUESTION) | keys(aware, OTHER)


async def test_the_async_compressor_gives_the_same(llm):
    compressor = llm.as_compressor()
    made = compressor.compress_documents(DOCUMENTS, QUESTION)
    assert await compressor.acompress_documents(DOCUMENTS, QUESTION) == made
    assert compressor.compress_documents(made, QUESTION) == made
    assert compressor.compress_documents(DOCUMENTS, OTHER) != made


async def test_documents_of_a_call_are_compressed_for_it(llm, aware, expected):
    assert llm.invoke(QUESTION, documents=TEXTS) == expected[QUESTION]
    assert set(aware.store.keys()) == keys(aware, QUESTION)
    assert "".join(llm.stream(OTHER, documents=DOCUMENTS)) == expected[OTHER]
    assert await llm.ainvoke(OTHER, documents=TEXTS) == expected[OTHER]
    made = llm.as_compressor().compress_documents(DOCUMENTS, QUESTION)
    assert llm.invoke(QUESTION, documents=made) == expected[QUESTION]
    assert set(aware.store.keys()) == keys(aware, QUESTION) | keys(aware, OTHER)


async def test_a_chat_compresses_for_what_was_last_asked(chat, aware, expected):
    assert chat.invoke(QUESTION, documents=TEXTS).content == expected[QUESTION]
    assert set(aware.store.keys()) == keys(aware, QUESTION)
    assert (await chat.ainvoke(OTHER, documents=TEXTS)).content == expected[OTHER]
    assert "".join(one.content for one in chat.stream(OTHER, documents=TEXTS)) == expected[OTHER]
    handles = llm_handles(chat, QUESTION)
    assert chat.invoke(handles + QUESTION).content == expected[QUESTION]
    assert set(aware.store.keys()) == keys(aware, QUESTION) | keys(aware, OTHER)
    both = chat.bind(documents=TEXTS).batch([QUESTION, OTHER])
    assert [one.content for one in both] == [expected[QUESTION], expected[OTHER]]


def test_documents_of_an_earlier_turn_are_compressed_for_the_last_question(chat, aware):
    blocks = [{"type": "text-plain", "mime_type": "text/plain", "text": text} for text in TEXTS]
    first = HumanMessage(content=[*blocks, {"type": "text", "text": QUESTION}])
    chat.invoke([first, AIMessage("The mayor."), HumanMessage(OTHER)])
    assert set(aware.store.keys()) == keys(aware, OTHER)


def test_a_chat_template_asks_the_question_too(aware):
    """Messages to the text model, which renders them: the encoder reads the last one alone."""
    llm = SACCompressedLLM.from_engine(aware, max_tokens=4, use_chat_template="always")
    llm.invoke([HumanMessage(QUESTION)], documents=TEXTS)
    llm.invoke(QUESTION, documents=TEXTS)
    assert set(aware.store.keys()) == keys(aware, QUESTION)


def test_anchors_of_another_question_are_refused(llm):
    compressor = llm.as_compressor()
    made = compressor.compress_documents(DOCUMENTS, QUESTION)
    for call in (
        lambda: compressor.compress_documents(made, OTHER),
        lambda: llm.invoke(OTHER, documents=[made[0], TEXTS[1]]),
    ):
        with pytest.raises(ConfigError, match=r"compressed for the question 'Who.*'What.*is asked"):
            call()


def test_a_handle_of_a_store_s_other_adapter_is_made_anew(aware, tiny_folders):
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter, store=aware.store) as plain:
        ingested = (
            SACCompressedLLM.from_engine(plain).as_transformer().transform_documents(DOCUMENTS)
        )
    compressor = SACCompressedLLM.from_engine(aware).as_compressor()
    made = [one.page_content for one in compressor.compress_documents(ingested, QUESTION)]
    anew = compressor.compress_documents(DOCUMENTS, QUESTION)
    assert made == [one.page_content for one in anew]


async def test_where_nobody_asks_nothing_is_compressed_and_an_error_says_so(llm, aware):
    compressor, transformer = llm.as_compressor(), llm.as_transformer()
    for call in (
        lambda: compressor.compress_documents(DOCUMENTS),
        lambda: compressor.compress_documents(DOCUMENTS, " "),
        lambda: compressor.as_runnable().invoke(DOCUMENTS),
    ):
        with pytest.raises(ConfigError, match=r"call compress_documents\(documents, query\)"):
            call()
    with pytest.raises(ConfigError, match="leave SACDocumentTransformer out"):
        transformer.transform_documents(DOCUMENTS)
    with pytest.raises(ConfigError, match="leave SACDocumentTransformer out"):
        await transformer.atransform_documents(DOCUMENTS)
    assert len(aware.store) == 0


def llm_handles(chat, question: str) -> str:
    made = chat.as_compressor().compress_documents(DOCUMENTS, question)
    return "".join(one.page_content for one in made)


def test_a_prompt_with_handles_brings_their_question(llm, expected):
    prompt = PromptTemplate.from_template("{context}\n### Question:\n{question}\n### Answer:\n")
    given = {"context": llm_handles(llm, OTHER), "question": OTHER}
    assert (prompt | llm).invoke(given) == expected[OTHER]
