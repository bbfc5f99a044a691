"""Laws of the ingestion step: anchors are written once, and are not needed to be there later."""

from __future__ import annotations

import pickle

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    ImageNode,
    MetadataMode,
    NodeWithScore,
    TextNode,
    TransformComponent,
)
from llama_index.llms.sac import SACLLM
from llama_index.postprocessor.sac import SACPrecompress

from sac_rag.errors import ConfigError, InvalidTextError
from tests.integrations.llama_index.conftest import TEXTS


@pytest.fixture
def fresh(engine) -> SACLLM:
    return SACLLM.from_engine(engine, max_new_tokens=4)


def nodes() -> list[TextNode]:
    return [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(TEXTS)]


def test_is_a_transformation():
    assert TransformComponent in SACPrecompress.__mro__


def test_anchors_are_written_and_used_at_query_time(fresh, engine):
    made = fresh.as_precompress()(nodes())
    assert len(engine.store) == len(TEXTS)
    compressed = fresh.as_postprocessor().postprocess_nodes([NodeWithScore(node=n) for n in made])
    prompt = "\n\n".join(item.get_content(MetadataMode.LLM) for item in compressed)
    usage = fresh.complete(f"{prompt}\n\nWhy?").raw["sac"]
    assert usage["anchors_encoded"] == 0
    assert usage["anchors_loaded"] == usage["anchors"] > 0


def test_nodes_carry_their_handle_out_of_sight(fresh, engine):
    given = nodes()
    made = fresh.as_precompress()(given)
    assert [node.node_id for node in made] == [node.node_id for node in given]
    handles = [handle.text for handle in engine.issue(TEXTS)]
    assert [node.metadata["sac_handle"] for node in made] == handles
    for node, original in zip(made, given, strict=True):
        assert "sac_handle" not in original.metadata
        assert not original.excluded_llm_metadata_keys
        for mode in (MetadataMode.LLM, MetadataMode.EMBED, MetadataMode.NONE):
            assert node.get_content(mode) == original.get_content(mode)


def test_running_twice_changes_nothing(fresh):
    step = fresh.as_precompress()
    once = step(nodes())
    assert [node.model_dump() for node in step(once)] == [node.model_dump() for node in once]


async def test_the_async_road_gives_the_same(fresh):
    step = fresh.as_precompress()
    many = [TextNode(text=f"{i} {TEXTS[0]}", id_=str(i)) for i in range(20)]
    assert [n.model_dump() for n in await step.acall(many)] == [n.model_dump() for n in step(many)]


def test_nodes_without_text_pass(fresh):
    others = [ImageNode(image_url="https://example.com/a.png"), TextNode(text=" ")]
    assert fresh.as_precompress()(others) == others


def test_what_cannot_be_compressed_is_an_error(fresh):
    with pytest.raises(InvalidTextError, match="surrogate"):
        fresh.as_precompress()([TextNode(text="lone \ud800 surrogate")])


@pytest.mark.parametrize(
    "change",
    [{"ratio": 15}, {"model": "b"}, {"adapter": "b"}, {"store": "b"}, {"fingerprint": "b"}],
    ids=lambda change: next(iter(change)),
)
def test_whatever_names_the_compressor_is_in_the_cache_key(change):
    names = {"model": "a", "adapter": "a", "ratio": 5, "store": "a"}
    keys = {
        get_transformation_hash(nodes(), SACPrecompress(**fields))
        for fields in (names, names, {**names, **change})
    }
    assert len(keys) == 2


def test_the_cache_key_does_not_change_by_loading(fresh, tiny_folders):
    step = SACPrecompress(model=tiny_folders[0], adapter=tiny_folders[1])
    before = get_transformation_hash(nodes(), step)
    step(nodes())
    assert get_transformation_hash(nodes(), step) == before
    step.engine.close()


def test_a_cache_hit_whose_anchors_are_gone_is_encoded_at_query_time(fresh, engine):
    splitter = SentenceSplitter(chunk_size=200, chunk_overlap=0)
    pipeline = IngestionPipeline(transformations=[splitter, fresh.as_precompress()])
    documents = [Document(text=text, id_=f"d{i}") for i, text in enumerate(TEXTS)]
    first = pipeline.run(documents=documents)
    for key in list(engine.store.keys()):
        engine.store.delete(key)
    again = pipeline.run(documents=documents)
    assert [node.node_id for node in again] == [node.node_id for node in first]
    assert len(engine.store) == 0  # the cache answered
    retrieved = [NodeWithScore(node=node) for node in again]
    made = fresh.as_postprocessor(on_error="raise").postprocess_nodes(retrieved)
    prompt = "\n\n".join(item.get_content(MetadataMode.LLM) for item in made)
    assert fresh.complete(f"{prompt}\n\nWhy?").raw["usage"]["anchor_tokens"] > 0


def test_a_worker_loads_from_the_fields_and_writes_to_the_shared_store(tiny_folders, tmp_path):
    base, adapter = tiny_folders
    step = SACPrecompress(model=base, adapter=adapter, store=tmp_path / "store")
    worker = pickle.loads(pickle.dumps(step))
    made = worker(nodes())
    worker.engine.close()
    with SACLLM.from_pretrained(base, adapter=adapter, store=tmp_path / "store").engine as engine:
        assert len(engine.store) == len(TEXTS)
        assert made[0].metadata["sac_handle"] == engine.issue(TEXTS)[0].text


def test_a_worker_with_a_store_of_its_own_is_refused(fresh):
    worker = pickle.loads(pickle.dumps(fresh.as_precompress()))
    with pytest.raises(ConfigError, match="num_workers"):
        worker(nodes())
