"""A query-aware adapter in LlamaIndex: what is asked reaches the encoder, or an error says so."""

from __future__ import annotations

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, TextBlock
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.llms.sac import SACLLM

from sac_rag import SACEngine
from sac_rag.errors import ConfigError
from tests.integrations.llama_index.conftest import TEXTS, WordEmbedding
from tests.integrations.llama_index.test_llm import QUESTION

OTHER = "What freezes in winter?"
NODES = [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(TEXTS)]


@pytest.fixture
def aware(query_aware_folders):
    base, adapter = query_aware_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


@pytest.fixture
def llm(aware) -> SACLLM:
    return SACLLM.from_engine(aware, max_new_tokens=8)


def keys(engine, question):
    return {engine.key_of(text, question=question) for text in TEXTS}


async def test_a_query_engine_compresses_for_its_query(llm, aware, query_aware_folders):
    base, adapter = query_aware_folders
    index = VectorStoreIndex(NODES, embed_model=WordEmbedding())
    query_engine = llm.as_query_engine(index, similarity_top_k=3)
    response = query_engine.query(QUESTION)
    assert set(aware.store.keys()) == keys(aware, QUESTION)
    order = [node.get_content() for node in response.source_nodes]
    with SACEngine.from_pretrained(base, adapter=adapter) as another:
        assert str(response) == another.answer(QUESTION, order, max_new_tokens=8).text
    assert str(await query_engine.aquery(QUESTION)) == str(response)
    query_engine.query(OTHER)
    assert set(aware.store.keys()) == keys(aware, QUESTION) | keys(aware, OTHER)


def test_refining_over_several_prompts_keeps_the_question(llm, aware):
    index = VectorStoreIndex(NODES, embed_model=WordEmbedding())
    refining = llm.as_query_engine(index, similarity_top_k=3, response_mode="refine")
    assert refining.query(QUESTION).source_nodes
    assert set(aware.store.keys()) == keys(aware, QUESTION)


def test_document_blocks_are_compressed_for_what_was_last_asked(llm, aware):
    blocks = [DocumentBlock(data=text.encode(), document_mimetype="text/plain") for text in TEXTS]
    first = ChatMessage(role="user", content=[*blocks, TextBlock(text=QUESTION)])
    by_blocks = llm.chat([first])
    assert set(aware.store.keys()) == keys(aware, QUESTION)
    handles = [one.text for one in aware.issue(TEXTS, question=QUESTION)]
    by_handles = llm.chat([ChatMessage(role="user", content="\n\n".join([*handles, QUESTION]))])
    assert str(by_blocks) == str(by_handles)
    assert by_handles.raw["usage"] == by_blocks.raw["usage"]
    last = ChatMessage(role="user", content=OTHER)
    llm.chat([first, ChatMessage(role="assistant", content="1812."), last])
    assert set(aware.store.keys()) == keys(aware, QUESTION) | keys(aware, OTHER)
    with pytest.raises(ConfigError, match="compressed for the question"):
        llm.chat([first, ChatMessage(role="user", content=handles[0] + OTHER)])


def test_a_completion_reads_the_handles_of_its_question(llm, aware):
    handles = [one.text for one in aware.issue(TEXTS, question=QUESTION)]
    prompt = "".join(handles) + aware.prompt_format.question(QUESTION)
    wanted = aware.answer(QUESTION, TEXTS, max_new_tokens=8).text
    assert llm.complete(prompt, formatted=True).text == wanted


async def test_where_nobody_asks_nothing_is_compressed_and_an_error_says_so(llm, aware):
    post = llm.as_postprocessor()
    nodes = [NodeWithScore(node=node) for node in NODES]
    with pytest.raises(ConfigError, match=r"postprocess_nodes\(nodes, query_str=...\)"):
        post.postprocess_nodes(nodes)
    with pytest.raises(ConfigError, match="none came with them"):
        post.postprocess_nodes(nodes, query_str=" ")
    with pytest.raises(ConfigError, match="none came with them"):
        await post.apostprocess_nodes(nodes)
    with pytest.raises(ConfigError, match="leave SACPrecompress out"):
        llm.as_precompress()(NODES)
    assert len(aware.store) == 0
    assert len(post.postprocess_nodes(nodes, query_str=QUESTION)) == len(NODES)
    assert set(aware.store.keys()) == keys(aware, QUESTION)
