"""An engine on a query-aware adapter: anchors for one question, and for no other."""

from __future__ import annotations

import pytest
import torch

from sac_rag import Document, Request, SACEngine, open_store
from sac_rag.anchor_cache import join
from sac_rag.chunking import split_chunks
from sac_rag.errors import ConfigError, EmptyInputError, IncompatibleCacheError
from sac_rag.store.anchors import ANCHORS

DOCUMENTS = [
    "The mill stood where two rivers met. " * 20,
    {"title": "Harbour", "text": "Ships came at dawn, loaded with salt and copper."},
]
WHAT, WHEN = "What stood where the rivers met?", "When did ships come?"


@pytest.fixture
def aware(query_aware_folders):
    base, adapter = query_aware_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


def test_the_answer_is_compressing_by_hand_and_joining(aware):
    method = aware.adapter.method
    asked = aware.tokens.encode(aware.prompt_format.question(WHAT))
    parts = []
    for text, title in ((DOCUMENTS[0], None), (DOCUMENTS[1]["text"], "Harbour")):
        seen = aware.prompt_format.seen_ids(text, title, tokens=aware.tokens)
        with torch.no_grad():
            chunks = split_chunks(seen, chunk_size=510, question_ids=asked)
            parts += [method.compress_chunk(chunk) for chunk in chunks]
    by_engine = join(aware.compress(DOCUMENTS, question=WHAT), inv_freq=aware.inv_freq)
    # two chunks of one text and a text of one chunk: the last is moved behind them
    moved = parts[-1].relocate(sum(one.num_tokens for one in parts[:-1]), inv_freq=aware.inv_freq)
    keys = torch.cat([one.keys for one in [*parts[:-1], moved]], dim=2)
    torch.testing.assert_close(by_engine.keys, keys, atol=1e-4, rtol=1e-4)
    answer = aware.answer(WHAT, DOCUMENTS, max_new_tokens=16)
    assert aware.answer(WHAT, [by_engine], max_new_tokens=16).text == answer.text
    assert answer.usage.anchors == sum(aware.count_anchors(one) for one in DOCUMENTS)
    assert answer.usage.prompt_tokens == len(asked)


def test_two_questions_have_two_keys_and_two_entries(aware):
    keys = {aware.key_of(DOCUMENTS[0], question=asked) for asked in (WHAT, WHEN)}
    assert len(keys) == 2
    first = aware.answer(WHAT, DOCUMENTS[:1], max_new_tokens=4)
    second = aware.answer(WHEN, DOCUMENTS[:1], max_new_tokens=4)
    again = aware.answer(WHAT, DOCUMENTS[:1], max_new_tokens=4)
    assert first.usage.anchors_encoded == second.usage.anchors_encoded == first.usage.anchors
    assert again.usage.anchors_encoded == 0
    assert again.text == first.text
    assert set(aware.store.keys()) == keys


def test_every_road_gives_the_same_answer(aware):
    answer = aware.answer(WHAT, DOCUMENTS, max_new_tokens=12)
    assert "".join(aware.stream(WHAT, DOCUMENTS, max_new_tokens=12)) == answer.text
    requests = [aware.request(asked, DOCUMENTS) for asked in (WHAT, WHEN, WHAT)]
    together = aware.generate(requests, max_new_tokens=12)
    alone = [aware.generate([one], max_new_tokens=12)[0] for one in requests]
    assert [one.text for one in together] == [one.text for one in alone]
    assert together[0].text == together[2].text == answer.text


async def test_the_async_twin_gives_the_same(aware):
    answer = aware.answer(WHAT, DOCUMENTS, max_new_tokens=8)
    assert (await aware.aanswer(WHAT, DOCUMENTS, max_new_tokens=8)).text == answer.text


def test_without_a_question_nothing_is_compressed(aware):
    for call in (
        lambda: aware.compress(DOCUMENTS),
        lambda: aware.compress_each(DOCUMENTS),
        lambda: aware.key_of(DOCUMENTS[0]),
        lambda: aware.generate([Request(segments=[Document(text="a text"), "what?"])]),
    ):
        with pytest.raises(ConfigError, match="none came with the document; give it"):
            call()
    with pytest.raises(EmptyInputError, match="the question is empty"):
        aware.compress(DOCUMENTS, question=" ")
    assert len(aware.store) == 0
    [answer] = aware.generate([Request(segments=["no documents"])], max_new_tokens=2)
    assert answer.usage.anchors == 0
    in_full = Request(segments=[Document(text="a text", compressed=False), "what?"])
    assert aware.generate([in_full], max_new_tokens=2)[0].usage.anchors == 0


def test_a_plain_adapter_says_that_it_reads_no_question(shared_engine):
    with pytest.raises(ConfigError, match="not query-aware and would not read it"):
        shared_engine.compress(DOCUMENTS, question=WHAT)


def test_anchors_of_another_question_are_refused(aware, shared_engine):
    for cache in (aware.compress("a text", question=WHEN), shared_engine.compress("a text")):
        with pytest.raises(IncompatibleCacheError, match="precision or question made it"):
            aware.answer(WHAT, [cache])


def test_a_handle_stands_for_a_document_and_the_question_it_was_made_for(aware):
    handles = aware.issue(DOCUMENTS, question=WHAT)
    prompt = "".join(one.text for one in handles) + aware.prompt_format.question(WHAT)
    segments = aware.resolve(prompt)
    assert [one.question for one in segments[:2]] == [WHAT, WHAT]
    asked = aware.prompt_format.question(WHAT)
    taken = sum(aware.count_anchors(one) for one in DOCUMENTS)
    assert aware.count_tokens(prompt) == taken + aware.tokens.count(asked)
    wanted = aware.answer(WHAT, DOCUMENTS, max_new_tokens=12)
    for question in (None, WHAT):
        [made] = aware.generate([Request(segments=segments, question=question)], max_new_tokens=12)
        assert made.text == wanted.text
        assert made.usage.anchors_encoded == 0
    with pytest.raises(ConfigError, match=r"compressed for the question 'What.*'When.*is asked"):
        aware.generate([Request(segments=segments, question=WHEN)])
    assert aware.issue(segments[:2], question=WHAT) == handles
    others = aware.issue(DOCUMENTS, question=WHEN)
    assert not {one.key for one in others} & {one.key for one in handles}
    with pytest.raises(IncompatibleCacheError):
        aware.generate([Request(segments=aware.resolve(f"{handles[0].text}{others[1].text}?"))])


def test_anchors_of_a_handle_that_are_gone_are_made_again_for_its_question(aware):
    handles = aware.issue(DOCUMENTS, question=WHAT)
    wanted = aware.answer(WHAT, DOCUMENTS, max_new_tokens=12)
    segments = aware.resolve("".join(one.text for one in handles))
    segments += [aware.prompt_format.question(WHAT)]
    aware.store.backend.mdelete([ANCHORS + one.key for one in handles])
    [made] = aware.generate([Request(segments=segments)], max_new_tokens=12)
    assert made.text == wanted.text
    assert made.usage.anchors_encoded == wanted.usage.anchors
    aware.store.delete(handles[0].key)
    with pytest.raises(ConfigError, match=r"names no question.*the store lost its text"):
        aware.generate([Request(segments=[*aware.resolve(handles[0].text), "what?"])])


def test_without_a_question_there_are_no_handles(aware, query_aware_folders, tiny_folders):
    with pytest.raises(ConfigError, match="none came with the document; give it"):
        aware.issue(DOCUMENTS)
    base, adapter = tiny_folders
    with open_store(None) as store:
        with SACEngine.from_pretrained(base, adapter=adapter, store=store) as plain:
            [handle] = plain.issue(DOCUMENTS[:1])
            with pytest.raises(ConfigError, match="would not read it"):
                plain.issue(DOCUMENTS, question=WHAT)
        base, adapter = query_aware_folders
        with SACEngine.from_pretrained(base, adapter=adapter, store=store) as aware_too:
            segments = aware_too.resolve(handle.text + WHAT)
            with pytest.raises(ConfigError, match=r"names no question.*without query_aware issued"):
                aware_too.generate([Request(segments=segments, question=WHAT)])


def test_the_flag_is_part_of_the_fingerprint(aware, shared_engine):
    assert aware.query_aware
    assert not shared_engine.query_aware
    assert aware.fingerprint != shared_engine.fingerprint
