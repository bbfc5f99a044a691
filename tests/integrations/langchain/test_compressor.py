"""Documents between retriever and prompt: what changes, what stays, what is refused."""

from __future__ import annotations

import asyncio
import copy
import logging

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableLambda
from langchain_sac import SACDocumentCompressor, SACDocumentTransformer

from sac_rag import SACEngine
from sac_rag.errors import EmptyInputError, HandleForgeryError


@pytest.fixture
def compressor(engine):
    return SACDocumentCompressor.from_engine(engine)


@pytest.fixture
def transformer(engine):
    return SACDocumentTransformer.from_engine(engine)


def test_one_in_one_out(compressor, documents, engine):
    before = copy.deepcopy(documents)
    compressed = compressor.compress_documents([*documents, documents[0]], "any question")
    assert documents == before
    assert [one.id for one in compressed] == ["a", "b", "c", "a"]
    for given, made in zip([*documents, documents[0]], compressed, strict=True):
        text = given.page_content
        [stored] = engine.resolve(made.page_content)
        assert made.metadata == {
            **given.metadata,
            "sac_handle": made.page_content,
            "sac_tokens": engine.tokens.count(text),
            "sac_anchors": stored.num_anchors,
            "sac_original": text,
        }
        assert stored.num_anchors == engine.count_anchors(text)
    assert compressor.compress_documents([], "q") == []


def test_the_question_changes_nothing(compressor, documents):
    assert compressor.compress_documents(documents, "a") == compressor.compress_documents(
        documents, "b"
    )


def test_compressed_documents_pass_through(compressor, documents):
    once = compressor.compress_documents(documents, "q")
    assert compressor.compress_documents(once, "q") == once
    mixed = [once[0], documents[1]]
    assert compressor.compress_documents(mixed, "q") == once[:2]


async def test_async_and_runnable_give_the_same(compressor, documents):
    expected = compressor.compress_documents(documents, "q")
    assert await compressor.acompress_documents(documents, "q") == expected
    assert compressor.as_runnable().invoke(documents) == expected
    assert await compressor.as_runnable().ainvoke(documents) == expected


def test_metadata_cannot_stand_for_the_text(compressor):
    trap = Document("harmless", metadata={"page_content": "raw text that nobody compressed"})
    [made] = compressor.compress_documents([trap], "q")
    written = format_document(made, PromptTemplate.from_template("{page_content}"))
    assert written == made.page_content
    assert made.metadata["sac_meta_page_content"] == "raw text that nobody compressed"


def test_a_document_that_looks_like_a_handle_is_data(compressor, documents, engine):
    [made] = compressor.compress_documents(documents[:1], "q")
    [quoting] = compressor.compress_documents([Document(made.page_content)], "q")
    assert quoting.page_content != made.page_content
    assert quoting.metadata["sac_original"] == made.page_content


def test_what_cannot_be_compressed_stays_and_is_logged(compressor, documents, caplog):
    [made] = compressor.compress_documents(documents[:1], "q")
    bad = Document(f"half a character \ud800 {made.page_content}", id="bad")
    given = [documents[0], bad, Document("  ", id="empty"), documents[1]]
    with caplog.at_level(logging.WARNING):
        compressed = compressor.compress_documents(given, "q")
    assert [one.id for one in compressed] == ["a", "bad", "empty", "b"]
    assert ["sac_handle" in one.metadata for one in compressed] == [True, False, False, True]
    assert "⟦" not in compressed[1].page_content  # the handle in it is inert
    assert [word in caplog.text for word in ("bad", "empty", "surrogate")] == [True] * 3


def test_or_it_raises(engine, documents):
    strict = SACDocumentCompressor.from_engine(engine, on_error="raise")
    with pytest.raises(EmptyInputError):
        strict.compress_documents([documents[0], Document(" ")], "q")


def test_a_foreign_handle_always_raises(compressor, transformer, documents, tiny_folders):
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter, namespace="other") as other:
        foreign = SACDocumentTransformer.from_engine(other).transform_documents(documents)
    with pytest.raises(HandleForgeryError):
        compressor.compress_documents(foreign, "q")
    with pytest.raises(HandleForgeryError):
        transformer.transform_documents(foreign)


def test_the_transformer_keeps_the_text_and_the_compressor_encodes_nothing(
    compressor, transformer, documents, engine, monkeypatch
):
    before = copy.deepcopy(documents)
    ingested = transformer.transform_documents(documents)
    assert documents == before
    assert [one.page_content for one in ingested] == [one.page_content for one in documents]
    assert [one.id for one in ingested] == [one.id for one in documents]
    assert {one.metadata["sac_fingerprint"] for one in ingested} == {engine.fingerprint}
    expected = [one.metadata["sac_handle"] for one in ingested]
    issued = []
    issue = type(engine).issue

    def watched(self, documents, **settings):
        issued.extend(documents)
        return issue(self, documents, **settings)

    monkeypatch.setattr(type(engine), "issue", watched)
    compressed = compressor.compress_documents(ingested, "q")
    assert issued == []
    assert [one.page_content for one in compressed] == expected
    assert compressed[0].metadata["sac_original"] == documents[0].page_content


def test_a_handle_that_does_not_fit_the_text_any_more_is_made_anew(
    compressor, transformer, documents, engine
):
    [ingested] = transformer.transform_documents(documents[:1])
    ingested.page_content = "Ashford has moved to the river Eden."
    [made] = compressor.compress_documents([ingested], "q")
    assert made.page_content == engine.issue([ingested.page_content])[0].text
    [evicted] = transformer.transform_documents(documents[:1])
    [stored] = engine.resolve(evicted.metadata["sac_handle"])
    engine.store.delete(stored.key)
    [made] = compressor.compress_documents([evicted], "q")
    assert stored.key in engine.store
    assert made.page_content == evicted.metadata["sac_handle"]


async def test_the_transformer_in_an_event_loop(transformer, documents):
    expected = transformer.transform_documents(documents)
    assert await transformer.atransform_documents(documents) == expected
    assert transformer.transform_documents(expected) == expected
    with pytest.raises(TypeError, match="chunk"):
        transformer.transform_documents(documents, chunk=3)


async def test_cancelling_stops_the_encoding(transformer, engine):
    many = [Document(f"Town {n}. " + "It rains. " * 300) for n in range(40)]
    task = asyncio.create_task(transformer.atransform_documents(many))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = -1
    while seen != (seen := len(engine.store)):
        await asyncio.sleep(0.5)
    assert seen < len(many)


def test_runs_are_told(compressor, documents):
    events = []

    class Listener(BaseCallbackHandler):
        def on_custom_event(self, name, data, **kwargs):
            events.append((name, data))

    compressor.as_runnable().invoke(documents, {"callbacks": [Listener()]})
    chain = RunnableLambda(lambda given: compressor.compress_documents(given, "q"))
    chain.invoke(documents, {"callbacks": [Listener()]})
    assert [name for name, _ in events] == ["sac_compress"] * 2
    assert events[0][1]["documents"] == events[0][1]["compressed"] == 3
    assert events[0][1]["tokens"] > events[0][1]["anchors"] > 0
