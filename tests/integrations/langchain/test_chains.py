"""The chains of langchain-classic and of LCEL, unchanged but for the compressor."""

from __future__ import annotations

import pytest
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_sac import SACCompressedLLM

QUESTION = "Who keeps geese?"
PLAIN = PromptTemplate.from_template("{context}\n### Question:\n{input}\n### Answer:\n")
CHAT = ChatPromptTemplate.from_messages([("system", "Use {context}."), ("human", "{input}")])


class Archive(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.documents


def rag(model, documents, prompt):
    compressing = ContextualCompressionRetriever(
        base_compressor=model.as_compressor(), base_retriever=Archive(documents=documents)
    )
    stuff = create_stuff_documents_chain(model, prompt, document_separator="")
    return create_retrieval_chain(compressing, stuff)


async def test_the_classic_chain(llm, documents, shared_engine):
    texts = [document.page_content for document in documents]
    expected = shared_engine.answer(QUESTION, texts, max_new_tokens=12).text
    chain = rag(llm, documents, PLAIN)
    result = chain.invoke({"input": QUESTION})
    assert result["answer"] == expected
    assert [one.metadata["sac_original"] for one in result["context"]] == texts
    assert (await chain.ainvoke({"input": QUESTION}))["answer"] == expected
    pieces = [piece.get("answer", "") for piece in chain.stream({"input": QUESTION})]
    assert "".join(pieces) == expected
    assert [one["answer"] for one in chain.batch([{"input": QUESTION}] * 2)] == [expected] * 2


def test_the_classic_chain_with_a_chat_prompt(llm, chat, documents):
    answer = rag(llm, documents, CHAT).invoke({"input": QUESTION})["answer"]
    assert rag(chat, documents, CHAT).invoke({"input": QUESTION})["answer"] == answer


def test_lcel(llm, documents, shared_engine):
    texts = [document.page_content for document in documents]
    retriever = RunnableLambda(lambda question: documents)

    def joined(found):
        return "".join(document.page_content for document in found)

    context = retriever | llm.as_compressor().as_runnable() | joined
    given = {"context": context, "input": RunnablePassthrough()}
    chain = given | PLAIN | llm | StrOutputParser()
    expected = shared_engine.answer(QUESTION, texts, max_new_tokens=12).text
    assert chain.invoke(QUESTION) == expected
    assert "".join(chain.stream(QUESTION)) == expected


@pytest.mark.parametrize("separate", [True, False])
def test_compressor_and_model_made_apart_share_a_folder(
    tiny_folders, tmp_path, documents, separate
):
    base, adapter = tiny_folders
    settings = {"adapter": adapter, "store": tmp_path / "store"}
    llm = SACCompressedLLM.from_pretrained(base, max_tokens=4, **settings)
    other = SACCompressedLLM.from_pretrained(base, **settings) if separate else llm
    compressed = other.as_compressor().compress_documents(documents, "q")
    usage = llm.generate([compressed[0].page_content + "Who?"]).generations[0][0].generation_info
    assert usage["token_usage"]["anchors_loaded"] == compressed[0].metadata["sac_anchors"]
    llm.close()
    other.close()


def test_configurable_fields_keep_the_engine(llm):
    from langchain_core.runnables import ConfigurableField

    configurable = llm.configurable_fields(max_tokens=ConfigurableField(id="limit"))
    short = configurable.with_config(configurable={"limit": 3}).invoke(QUESTION)
    assert short == llm.invoke(QUESTION, max_tokens=3)
