"""One answer, whichever way the documents travel."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.prompts import PromptTemplate
from langchain_sac import ChatSAC, SACCompressedLLM

QUESTION = "Who keeps geese?"
TEXTS = ["Ashford exports barley.", "The mayor of Carn keeps forty geese.", "Bree is old. " * 60]


@pytest.fixture
def expected(question_engine):
    return question_engine.answer(QUESTION, TEXTS, max_new_tokens=16).text


@pytest.fixture
def llm(question_engine):
    return SACCompressedLLM.from_engine(question_engine, max_tokens=16)


@pytest.fixture
def chat(question_engine):
    return ChatSAC.from_engine(question_engine, max_tokens=16)


def plain(text):
    return {"type": "text-plain", "mime_type": "text/plain", "text": text}


def anthropic(text):
    return {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": text},
    }


def anthropic_parts(text):
    parts = {"type": "content", "content": [{"type": "text", "text": text}]}
    return {"type": "document", "source": parts}


def search_result(text):
    found = {"type": "search_result", "source": "https://x.example"}
    return {**found, "title": "", "content": [{"type": "text", "text": text}]}


def non_standard(text):
    return {"type": "non_standard", "value": {"type": "sac_document", "text": text}}


def test_the_answer_says_something_and_depends_on_the_documents(expected, question_engine):
    assert expected
    assert expected != question_engine.answer(QUESTION, TEXTS[:1], max_new_tokens=16).text


def test_documents_argument(llm, expected):
    assert llm.invoke(QUESTION, documents=TEXTS) == expected
    as_documents = [Document(text) for text in TEXTS]
    assert llm.invoke(QUESTION, documents=as_documents) == expected
    assert llm.invoke(QUESTION, documents=[{"text": text} for text in TEXTS]) == expected
    assert llm.invoke(QUESTION, documents=llm.as_compressor().compress_documents(as_documents)) == (
        expected
    )


def test_handles_in_text(llm, expected):
    prompt = PromptTemplate.from_template("{context}\n### Question:\n{question}\n### Answer:\n")
    compressed = llm.as_compressor().compress_documents([Document(text) for text in TEXTS])
    context = "".join(document.page_content for document in compressed)
    assert (prompt | llm).invoke({"context": context, "question": QUESTION}) == expected


@pytest.mark.parametrize("block", [plain, anthropic, anthropic_parts, search_result, non_standard])
def test_chat_blocks(chat, expected, block):
    content = [*map(block, TEXTS), {"type": "text", "text": QUESTION}]
    assert chat.invoke([HumanMessage(content=content)]).content == expected


def test_chat_handles_and_documents(chat, llm, expected):
    compressed = llm.as_compressor().compress_documents([Document(text) for text in TEXTS])
    handles = [document.page_content for document in compressed]
    assert chat.invoke("".join(handles) + QUESTION).content == expected
    assert chat.invoke(QUESTION, documents=TEXTS).content == expected
    assert chat.invoke(QUESTION, documents=compressed).content == expected
    blocks = [{**plain(""), "extras": {"sac_handle": handle}} for handle in handles]
    message = HumanMessage(content=[*blocks, {"type": "text", "text": QUESTION}])
    assert chat.invoke([message]).content == expected


def test_messages_for_the_text_model(llm, expected):
    content = [*map(plain, TEXTS), {"type": "text", "text": QUESTION}]
    assert llm.invoke([HumanMessage(content=content)]) == expected
    assert llm.invoke([HumanMessage(QUESTION)], documents=TEXTS) == expected


def test_the_question_format_where_there_is_no_chat_template(question_engine, expected):
    chat = ChatSAC.from_engine(question_engine, max_tokens=16, use_chat_template="never")
    assert chat.invoke(QUESTION, documents=TEXTS).content == expected


async def test_streams_batches_and_async_twins(llm, chat, expected):
    assert "".join(llm.stream(QUESTION, documents=TEXTS)) == expected
    assert llm.batch([QUESTION] * 2, documents=TEXTS) == [expected] * 2
    assert await llm.ainvoke(QUESTION, documents=TEXTS) == expected
    assert "".join([piece async for piece in llm.astream(QUESTION, documents=TEXTS)]) == expected
    assert await llm.abatch([QUESTION] * 2, documents=TEXTS) == [expected] * 2
    assert "".join(piece.text for piece in chat.stream(QUESTION, documents=TEXTS)) == expected
    assert (await chat.ainvoke(QUESTION, documents=TEXTS)).text == expected
    assert [one.text for one in chat.batch([QUESTION] * 2, documents=TEXTS)] == [expected] * 2
