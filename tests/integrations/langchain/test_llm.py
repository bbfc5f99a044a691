"""The text model: answers only, stops, batches, counts, and settings that are honoured."""

from __future__ import annotations

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import LLMResult
from langchain_sac import SACCompressedLLM

from sac_rag.engine import ChatText, Request
from sac_rag.errors import (
    ConfigError,
    ContextOverflowError,
    EmptyInputError,
    HandleForgeryError,
    InvalidHandleError,
    UnsupportedContentError,
)

QUESTION = "Where is Ashford?"


class Recorder(BaseCallbackHandler):
    def __init__(self):
        self.started, self.tokens, self.results = [], [], []

    def on_llm_start(self, serialized, prompts, **kwargs):
        self.started.append((serialized, prompts, kwargs))

    def on_llm_new_token(self, token, **kwargs):
        self.tokens.append(token)

    def on_llm_end(self, response, **kwargs):
        self.results.append(response)


def test_the_answer_never_holds_the_prompt_and_streams_join(llm, documents, shared_engine):
    answer = llm.invoke(QUESTION, documents=documents)
    texts = [document.page_content for document in documents]
    assert answer == shared_engine.answer(QUESTION, texts, max_new_tokens=12).text
    assert QUESTION not in answer
    assert "".join(llm.stream(QUESTION, documents=documents)) == answer
    assert "".join(llm.stream("plain words")) == llm.invoke("plain words")


def test_a_plain_prompt_is_used_as_it_is(llm, shared_engine):
    [expected] = shared_engine.generate([Request(segments=["plain words"])], max_new_tokens=12)
    assert llm.invoke("plain words") == expected.text


def test_no_documents_found_is_still_the_question(llm, shared_engine):
    expected = shared_engine.answer(QUESTION, [], max_new_tokens=12).text
    assert llm.invoke(QUESTION, documents=[]) == expected


@pytest.mark.parametrize("place", [0, 3, 6])
def test_stop_strings_per_call_and_in_the_constructor(llm, shared_engine, place):
    whole = llm.invoke(QUESTION, max_tokens=24)
    stop = whole[place : place + 3]
    expected = whole[: whole.index(stop)]
    assert llm.invoke(QUESTION, stop=[stop], max_tokens=24) == expected
    assert "".join(llm.stream(QUESTION, stop=[stop], max_tokens=24)) == expected
    stopping = SACCompressedLLM.from_engine(shared_engine, max_tokens=24, stop=[stop])
    assert stopping.invoke(QUESTION) == expected
    assert stopping.invoke(QUESTION, stop=["\0never\0"]) == whole


def test_one_bos(llm, shared_engine):
    """A template that writes BOS, and a plain prompt: each begins with exactly one."""
    plain, chat = "hello", [HumanMessage("hello")]
    rendered = shared_engine.tokens.render_chat([{"role": "user", "content": "hello"}])
    for given, encoded in ((plain, plain), (chat, rendered)):
        usage = llm.generate_prompt([llm._convert_input(given)]).generations[0][0].generation_info
        ids = shared_engine.tokens.encode_template(encoded)
        ids = ids[1:] if ids[0] == shared_engine.tokens.bos_id else ids
        assert usage["token_usage"]["prompt_tokens"] == 1 + len(ids)


def test_a_batch_is_one_call_in_order_with_mixed_documents(llm, documents, generate_calls):
    handles = [one.page_content for one in llm.as_compressor().compress_documents(documents)]
    prompts = ["no document", handles[0] + "one", "".join(handles) + "three", handles[2] + "last"]
    alone = [llm.invoke(prompt) for prompt in prompts]
    generate_calls.clear()
    assert llm.batch(prompts) == alone
    assert generate_calls == [4]
    assert llm.batch(prompts, config={"max_concurrency": 3}) == alone
    assert generate_calls == [4, 3, 1]


def test_settings_per_call(llm):
    long, short = llm.invoke(QUESTION), llm.invoke(QUESTION, max_new_tokens=3)
    assert long.startswith(short)
    assert len(short) < len(long)
    assert llm.invoke(QUESTION, max_tokens=3) == short
    assert llm.bind(max_tokens=3).invoke(QUESTION) == short
    assert "".join(llm.stream(QUESTION, max_tokens=3)) == short
    sampled = llm.invoke(QUESTION, temperature=3.0, seed=1)
    assert sampled == llm.invoke(QUESTION, temperature=3.0, seed=1)
    assert sampled != llm.invoke(QUESTION, temperature=3.0, seed=2)
    assert llm.max_tokens == 12


async def test_unknown_settings_are_refused_and_the_known_listed(llm):
    for call in (
        lambda: llm.invoke("x", temprature=1),
        lambda: llm.batch(["x"], temprature=1),
        lambda: list(llm.stream("x", temprature=1)),
        lambda: llm.generate(["x"], temprature=1),
    ):
        with pytest.raises(TypeError, match=r"temprature.*max_new_tokens.*temperature"):
            call()
    with pytest.raises(TypeError, match="temprature"):
        await llm.ainvoke("x", temprature=1)
    with pytest.raises(ValueError, match="temprature"):
        SACCompressedLLM(temprature=1)


def test_usage(llm, documents, shared_engine):
    recorder = Recorder()
    handles = [one.page_content for one in llm.as_compressor().compress_documents(documents)]
    prompts = ["".join(handles) + QUESTION, "plain"]
    result: LLMResult = llm.generate(prompts, callbacks=[recorder])
    stored = [one for one in shared_engine.resolve(prompts[0]) if not isinstance(one, str)]
    anchors_of = {prompts[0]: sum(one.num_anchors for one in stored), "plain": 0}
    for prompt, [generation] in zip(prompts, result.generations, strict=True):
        info = generation.generation_info
        usage, anchors = info["token_usage"], anchors_of[prompt]
        assert usage["anchor_tokens"] == anchors == usage["anchors_loaded"]
        bos = 0 if anchors else 1  # anchors bring their own
        assert usage["prompt_tokens"] == llm.get_num_tokens(prompt) + bos
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert info["finish_reason"] in ("stop", "length")
        assert info["sac"]["anchors"] == anchors
    summed = result.llm_output["token_usage"]
    assert summed["prompt_tokens"] == sum(
        one[0].generation_info["token_usage"]["prompt_tokens"] for one in result.generations
    )
    assert len(recorder.results) == 2


def test_a_stream_tells_tokens_and_usage_to_its_run(llm, documents):
    recorder = Recorder()
    pieces = list(llm.stream(QUESTION, {"callbacks": [recorder]}, documents=documents))
    assert [piece for piece in pieces if piece] == recorder.tokens
    [[generation]] = recorder.results[0].generations
    assert generation.text == "".join(pieces)
    assert generation.generation_info["token_usage"]["anchor_tokens"] > 0


def test_token_counting(llm, chat, documents, shared_engine):
    assert llm.get_num_tokens("abc") == 3
    assert llm.get_token_ids("abc") == shared_engine.tokens.encode("abc")
    [compressed, *_] = llm.as_compressor().compress_documents(documents)
    handle, anchors = compressed.page_content, compressed.metadata["sac_anchors"]
    assert llm.get_num_tokens(f"ab{handle}c") == 3 + anchors
    block = {"type": "text-plain", "mime_type": "text/plain", "text": documents[1].page_content}
    messages = [
        SystemMessage("Be brief."),
        HumanMessage(content=[block, {"type": "text", "text": handle + QUESTION}]),
        AIMessage("Lune."),
        HumanMessage("And Bree?"),
    ]
    for conversation in (messages, messages[:1] + messages[2:]):
        counted = chat.get_num_tokens_from_messages(conversation)
        assert counted == llm.get_num_tokens_from_messages(conversation)
        assert counted == chat.invoke(conversation).usage_metadata["input_tokens"]


def test_messages_are_rendered_by_the_chat_template(llm, shared_engine):
    rendered = shared_engine.tokens.render_chat(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    )
    request = Request(segments=[ChatText(text=rendered)])
    [expected] = shared_engine.generate([request], max_new_tokens=12)
    messages = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
    assert llm.invoke(messages) == expected.text
    assert "".join(llm.stream(messages)) == expected.text


def test_which_prompts_the_chat_template_writes(shared_engine):
    def answer(use, given):
        model = SACCompressedLLM.from_engine(shared_engine, max_tokens=12, use_chat_template=use)
        return model.invoke(given)

    message = [HumanMessage(QUESTION)]
    assert answer("always", QUESTION) == answer("auto", message) == answer("always", message)
    assert answer("never", QUESTION) == answer("auto", QUESTION)
    assert answer("never", message) == shared_engine.answer(QUESTION, [], max_new_tokens=12).text


def test_overflow_says_the_numbers(llm, shared_engine):
    words = "word " * 1000
    with pytest.raises(ContextOverflowError, match="4096") as caught:
        llm.invoke(words)
    assert caught.value.available == shared_engine.window
    assert caught.value.requested == len(words) + 1 + 12
    with pytest.raises(ContextOverflowError):
        list(llm.stream(words))


def test_bad_documents_and_prompts(llm, documents):
    with pytest.raises(EmptyInputError):
        llm.invoke(QUESTION, documents=[Document(" ")])
    with pytest.raises(EmptyInputError):
        llm.invoke("")
    with pytest.raises(UnsupportedContentError, match="int"):
        llm.invoke(QUESTION, documents=[3])
    with pytest.raises(ConfigError, match="page"):
        llm.invoke(QUESTION, documents=[{"page": "x"}])


def test_forged_and_cut_handles(llm, documents):
    [compressed, *_] = llm.as_compressor().compress_documents(documents)
    handle = compressed.page_content
    forged = handle[:-5] + ("0000" if handle[-5:-1] != "0000" else "1111") + handle[-1]
    for text, error in ((forged, HandleForgeryError), (handle[:40], InvalidHandleError)):
        with pytest.raises(error):
            llm.invoke(text + QUESTION)
        with pytest.raises(error):
            llm.invoke([HumanMessage(text + QUESTION)])


def test_langsmith_params(llm):
    params = llm._get_ls_params(stop=["x"], temperature=0.5)
    assert params == {
        "ls_provider": "sac",
        "ls_model_name": llm.model,
        "ls_model_type": "llm",
        "ls_temperature": 0.5,
        "ls_max_tokens": 12,
        "ls_stop": ["x"],
    }
    assert llm.metadata["lc_versions"]["langchain-sac"]
