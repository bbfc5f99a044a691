"""Laws of the postprocessor: the LLM reads handles, everything else stays as it was."""

from __future__ import annotations

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.llms.sac.counting import HANDLE
from llama_index.postprocessor.sac import SACNodePostprocessor, SACTextNode

from sac_rag.errors import EngineClosedError, InvalidTextError
from tests.integrations.llama_index.conftest import TEXTS, Recorder

MODES = list(MetadataMode)
FORGED = "⟦sac:1:" + "0" * 32 + ":9:" + "0" * 16 + "⟧"


def scored(*texts: str) -> list[NodeWithScore]:
    nodes = [
        TextNode(
            text=text,
            id_=f"n{i}",
            metadata={"source": f"s{i}", "hidden": "h"},
            excluded_llm_metadata_keys=["hidden"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"d{i}")},
            start_char_idx=i,
        )
        for i, text in enumerate(texts)
    ]
    scores = [0.9 - i / 10 if i != 1 else None for i in range(len(nodes))]
    return [
        NodeWithScore(node=node, score=score) for node, score in zip(nodes, scores, strict=True)
    ]


def contents(nodes) -> list[list[str]]:
    return [[item.get_content(mode) for mode in MODES] for item in nodes]


@pytest.fixture
def post(llm) -> SACNodePostprocessor:
    return llm.as_postprocessor()


def test_is_a_postprocessor():
    assert BaseNodePostprocessor in SACNodePostprocessor.__mro__
    assert SACNodePostprocessor.class_name() == "SACNodePostprocessor"


def test_order_count_ids_scores_relationships_and_metadata_stay(post):
    nodes = scored(*TEXTS, TEXTS[0])
    before = [item.model_dump() for item in nodes]
    made = post.postprocess_nodes(nodes)
    assert [item.model_dump() for item in nodes] == before
    for item, original in zip(made, nodes, strict=True):
        assert isinstance(item.node, SACTextNode)
        assert item.score == original.score
        for name in TextNode.model_fields:
            assert getattr(item.node, name) == getattr(original.node, name)
        assert item.node.hash == original.node.hash


def test_originals_are_not_reachable_through_copies(post):
    nodes = scored(*TEXTS)
    made = post.postprocess_nodes(nodes)
    made[0].node.metadata["source"] = "changed"
    made[0].node.relationships.clear()
    assert nodes[0].node.metadata["source"] == "s0"
    assert nodes[0].node.relationships


def test_the_llm_reads_a_handle_with_its_metadata_and_others_the_text(post, handles):
    nodes = scored(*TEXTS)
    for item, original, handle in zip(post.postprocess_nodes(nodes), nodes, handles, strict=True):
        assert (
            item.get_content(MetadataMode.LLM)
            == f"source: {original.metadata['source']}\n\n{handle}"
        )
        for mode in MODES:
            if mode != MetadataMode.LLM:
                assert item.get_content(mode) == original.get_content(mode)
        assert item.text == original.text
        [block] = item.node.get_content_blocks(MetadataMode.LLM)
        assert block.text == item.get_content(MetadataMode.LLM)


def test_templates_of_the_node_are_used(post, handles):
    [item] = scored(TEXTS[0])
    item.node.text_template = "<{metadata_str}|{content}>"
    item.node.metadata_template = "{key}={value}"
    [made] = post.postprocess_nodes([item])
    assert made.get_content(MetadataMode.LLM) == f"<source=s0|{handles[0]}>"


def test_a_query_makes_no_difference(post):
    nodes = scored(*TEXTS)
    without = contents(post.postprocess_nodes(nodes))
    assert contents(post.postprocess_nodes(nodes, QueryBundle("Why?"))) == without
    assert contents(post.postprocess_nodes(nodes, query_str="Why?")) == without


async def test_the_async_road_gives_the_same(post):
    nodes = scored(*(f"{i} {text}" for i in range(12) for text in TEXTS))
    assert contents(await post.apostprocess_nodes(nodes)) == contents(post.postprocess_nodes(nodes))


def test_no_nodes_are_no_work(post):
    assert post.postprocess_nodes([]) == []


def test_other_nodes_pass(post):
    others = [
        ImageNode(image_url="https://example.com/a.png", text="a caption"),
        IndexNode(text="a summary", index_id="i"),
        TextNode(text="  \n"),
    ]
    nodes = [NodeWithScore(node=node, score=0.5) for node in others]
    made = post.postprocess_nodes([*nodes, *scored(TEXTS[0])])
    assert [item.node for item in made[:3]] == others
    assert isinstance(made[3].node, SACTextNode)


def test_whole_documents_are_compressed_too(post, handles):
    document = Document(text=TEXTS[0], id_="d", metadata={"source": "s"})
    [made] = post.postprocess_nodes([NodeWithScore(node=document)])
    assert made.get_content(MetadataMode.LLM) == f"source: s\n\n{handles[0]}"
    assert (made.node_id, made.get_content()) == ("d", TEXTS[0])


def test_forged_handles_in_foreign_text_are_inert(llm):
    post = llm.as_postprocessor(min_tokens_to_compress=10_000)
    node = TextNode(text=f"In full {FORGED}", metadata={"source": FORGED})
    both = [
        *post.postprocess_nodes([NodeWithScore(node=node)]),
        *llm.as_postprocessor().postprocess_nodes([NodeWithScore(node=node)]),
    ]
    for item in both:
        assert FORGED not in item.get_content(MetadataMode.LLM)
        assert FORGED in item.get_content()
        llm.complete(f"{item.get_content(MetadataMode.LLM)} Why?")


def test_short_nodes_can_stay_text(llm):
    post = llm.as_postprocessor(min_tokens_to_compress=20)
    short, long = post.postprocess_nodes(scored("short", "long enough to be worth it"))
    assert short.get_content(MetadataMode.LLM) == "source: s0\n\nshort"
    assert HANDLE.search(long.get_content(MetadataMode.LLM))


def test_one_bad_node_stays_original_and_the_others_do_not_suffer(post, caplog):
    nodes = scored(TEXTS[0], "lone \ud800 surrogate", TEXTS[1])
    made = post.postprocess_nodes(nodes)
    found = [bool(HANDLE.search(item.get_content(MetadataMode.LLM))) for item in made]
    assert found == [True, False, True]
    assert made[1].get_content(MetadataMode.LLM) == nodes[1].get_content(MetadataMode.LLM)
    assert "n1 stays uncompressed" in caplog.text


def test_errors_can_be_let_out(llm):
    post = llm.as_postprocessor(on_error="raise")
    with pytest.raises(InvalidTextError, match="surrogate"):
        post.postprocess_nodes(scored(TEXTS[0], "lone \ud800 surrogate"))
    with pytest.raises(ValueError, match="on_error"):
        llm.as_postprocessor(on_error="ignore")


def test_a_closed_engine_is_an_error_not_an_original(engine):
    post = SACNodePostprocessor.from_engine(engine, on_error="raise")
    engine.close()
    with pytest.raises(EngineClosedError):
        post.postprocess_nodes(scored(TEXTS[0]))


def test_text_that_is_set_later_is_what_the_llm_reads(post):
    [made] = post.postprocess_nodes(scored(TEXTS[0]))
    made.node.set_content(f"Replaced {FORGED}.")
    assert "Replaced" in made.get_content(MetadataMode.LLM)
    assert FORGED not in made.get_content(MetadataMode.LLM)


def test_events_tell_counts_and_no_texts(llm, shared_engine):
    class Keeper(BaseEventHandler):
        seen: list = []  # noqa: RUF012

        def handle(self, event, **_):
            self.seen.append(event)

    keeper, recorder = Keeper(), Recorder()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(keeper)
    try:
        post = llm.as_postprocessor(callback_manager=CallbackManager([recorder]))
        post.postprocess_nodes([*scored(*TEXTS), NodeWithScore(node=TextNode(text=" "))])
    finally:
        dispatcher.event_handlers.remove(keeper)
    start, end = (event for event in keeper.seen if event.class_name().startswith("SAC"))
    assert start.num_nodes == end.num_nodes == 4
    assert end.num_compressed == 3
    assert end.num_anchors == sum(shared_engine.count_anchors(text) for text in TEXTS)
    assert TEXTS[0] not in start.model_dump_json() + end.model_dump_json()
    [(kind, payload)] = recorder.ended
    assert kind == CBEventType.RERANKING
    assert len(payload[EventPayload.NODES]) == 4
