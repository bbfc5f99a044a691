"""The whole way: an index, a query engine, answers from anchors; no network."""

from __future__ import annotations

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex, get_response_synthesizer
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import TextNode
from llama_index.llms.sac import SACLLM
from llama_index.llms.sac.counting import HANDLE

from tests.integrations.llama_index.conftest import TEXTS, WordEmbedding
from tests.integrations.llama_index.test_llm import QUESTION


@pytest.fixture
def index() -> VectorStoreIndex:
    nodes = [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(TEXTS)]
    return VectorStoreIndex(nodes, embed_model=WordEmbedding())


def handles_in(text: str) -> list[str]:
    return [match[0] for match in HANDLE.finditer(text)]


def test_the_prompt_holds_handles_and_source_nodes_show_originals(llm, recorder, index):
    response = llm.as_query_engine(index, similarity_top_k=2).query(QUESTION)
    [prompt] = recorder.prompts
    assert len(handles_in(prompt)) == 2
    assert not any(text in prompt for text in TEXTS)
    texts = [node.get_content() for node in response.source_nodes]
    assert texts[0] == TEXTS[2]
    assert set(texts) < set(TEXTS)
    assert response.source_nodes[0].score > response.source_nodes[1].score
    stored = index.docstore.docs.values()
    assert {type(node) for node in stored} == {TextNode}
    assert {node.get_content() for node in stored} == set(TEXTS)


async def test_query_stream_and_async_give_the_engines_answer(llm, index, shared_engine):
    response = llm.as_query_engine(index, similarity_top_k=3).query(QUESTION)
    order = [node.get_content() for node in response.source_nodes]
    answer = shared_engine.answer(QUESTION, order, max_new_tokens=8).text
    assert str(response) == answer
    streaming = llm.as_query_engine(index, similarity_top_k=3, streaming=True)
    assert "".join(streaming.query(QUESTION).response_gen) == answer
    pieces = [piece async for piece in (await streaming.aquery(QUESTION)).async_response_gen()]
    assert "".join(pieces) == answer
    asynchronous = llm.as_query_engine(index, similarity_top_k=3)
    assert str(await asynchronous.aquery(QUESTION)) == answer


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize"])
def test_every_mode_reads_handles(llm, recorder, index, mode):
    llm.as_query_engine(index, similarity_top_k=3, response_mode=mode).query(QUESTION)
    found = [handle for prompt in recorder.prompts for handle in handles_in(prompt)]
    assert len(found) == len(set(found)) == 3


def test_a_hundred_handles_go_through_compact_synthesis_each_once(llm, recorder):
    texts = [f"Document {i} says that town {i} has {i} wells." for i in range(100)]
    index = VectorStoreIndex(
        [TextNode(text=text) for text in texts], embed_model=MockEmbedding(embed_dim=4)
    )
    response = llm.as_query_engine(index, similarity_top_k=100).query("How many?")
    found = [handle for prompt in recorder.prompts for handle in handles_in(prompt)]
    assert len(found) == len(set(found)) == 100
    assert 1 < len(recorder.prompts) < 5
    assert len(response.source_nodes) == 100


def test_the_usual_way_of_wiring_works(llm, recorder, index):
    synthesizer = get_response_synthesizer(llm=llm, prompt_helper=llm.prompt_helper())
    query_engine = index.as_query_engine(
        llm=llm,
        similarity_top_k=2,
        node_postprocessors=[SimilarityPostprocessor(), llm.as_postprocessor()],
        response_synthesizer=synthesizer,
    )
    assert query_engine.query(QUESTION).response
    assert len(handles_in(recorder.prompts[0])) == 2


def test_global_settings_are_enough(llm, recorder, index):
    with llm.configure_settings():
        query_engine = index.as_query_engine(
            similarity_top_k=2, node_postprocessors=[llm.as_postprocessor()]
        )
        query_engine.query(QUESTION)
    assert len(handles_in(recorder.prompts[0])) == 2


def test_other_postprocessors_run_before_the_compression(llm, index):
    class Seen(SimilarityPostprocessor):
        def _postprocess_nodes(self, nodes, query_bundle=None):
            assert all(type(item.node) is TextNode for item in nodes)
            return super()._postprocess_nodes(nodes[:1], query_bundle)

    asked = llm.as_query_engine(index, similarity_top_k=3, node_postprocessors=[Seen()])
    assert len(asked.query(QUESTION).source_nodes) == 1


def test_own_templates_replace_the_ready_ones(llm, recorder, index):
    from llama_index.core.prompts import PromptTemplate

    template = PromptTemplate("Own: {context_str} {query_str}")
    llm.as_query_engine(index, similarity_top_k=1, text_qa_template=template).query(QUESTION)
    assert recorder.prompts[0].startswith("Own: ⟦sac:1:")


def test_callbacks_of_the_llm_are_kept(llm, index):
    counter = TokenCountingHandler()
    llm.callback_manager = CallbackManager([counter])
    llm.as_query_engine(index, similarity_top_k=2).query(QUESTION)
    assert counter.prompt_llm_token_count > 0
    assert llm.callback_manager.handlers == [counter]


def test_a_system_prompt_stands_in_the_prompt(shared_engine, index):
    plain = SACLLM.from_engine(shared_engine, max_new_tokens=8)
    told = SACLLM.from_engine(shared_engine, max_new_tokens=8, system_prompt="Answer briefly.")
    counts = []
    for llm in (plain, told):
        counter = TokenCountingHandler()
        llm.callback_manager = CallbackManager([counter])
        llm.as_query_engine(index, similarity_top_k=1).query(QUESTION)
        counts.append(counter.prompt_llm_token_count)
    assert counts[1] == counts[0] + len("Answer briefly.\n\n")  # tokens are bytes here


def test_a_chat_engine_remembers(llm, recorder, index):
    chat = index.as_chat_engine(
        chat_mode="context",
        llm=llm,
        similarity_top_k=2,
        node_postprocessors=[llm.as_postprocessor()],
    )
    assert chat.chat(QUESTION).response
    assert chat.chat("And the mill?").response
    assert all(len(handles_in(prompt)) == 2 for prompt in recorder.prompts)
