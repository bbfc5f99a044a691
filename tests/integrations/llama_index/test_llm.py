"""Laws of SACLLM: every endpoint gives the engine's answer, and says what it took."""

from __future__ import annotations

import json

import pytest
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.llms.sac import SACLLM

from sac_rag.errors import ConfigError, EmptyInputError, HandleForgeryError, InvalidHandleError
from tests.integrations.llama_index.conftest import TEXTS

QUESTION = "Who built the bridge of Tessaly?"


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


async def all_endpoints(llm, prompt, **kwargs):
    """Give the last response of each of the eight."""
    return [
        llm.complete(prompt, **kwargs),
        list(llm.stream_complete(prompt, **kwargs))[-1],
        await llm.acomplete(prompt, **kwargs),
        [one async for one in await llm.astream_complete(prompt, **kwargs)][-1],
        llm.chat(user(prompt), **kwargs),
        list(llm.stream_chat(user(prompt), **kwargs))[-1],
        await llm.achat(user(prompt), **kwargs),
        [one async for one in await llm.astream_chat(user(prompt), **kwargs)][-1],
    ]


def text_of(response) -> str:
    return response.message.content if hasattr(response, "message") else response.text


def test_is_an_llm():
    assert BaseLLM in SACLLM.__mro__
    assert SACLLM.class_name() == "SACLLM"


async def test_eight_endpoints_give_one_answer_and_one_usage(llm, handles):
    responses = await all_endpoints(llm, "\n\n".join([*handles, QUESTION]))
    assert len({text_of(response) for response in responses}) == 1
    assert text_of(responses[0])
    usages = [json.dumps(response.raw["usage"], sort_keys=True) for response in responses]
    assert len(set(usages)) == 1


def test_usage_is_plain_json_and_adds_up(llm, handles, shared_engine):
    raw = llm.complete(f"{handles[0]} {QUESTION}").raw
    assert json.loads(json.dumps(raw)) == raw
    usage = raw["usage"]
    assert usage["anchor_tokens"] == shared_engine.count_anchors(TEXTS[0])
    assert usage["original_context_tokens"] > 4 * usage["anchor_tokens"]
    assert usage["prompt_tokens"] == raw["sac"]["prompt_tokens"] + usage["anchor_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert raw["finish_reason"] in {"stop", "length"}


def test_streamed_text_is_cumulative_and_its_deltas_join_to_it(llm, handles):
    chunks = list(llm.stream_complete(f"{handles[0]} {QUESTION}", max_new_tokens=24))
    whole = llm.complete(f"{handles[0]} {QUESTION}", max_new_tokens=24).text
    assert "".join(chunk.delta for chunk in chunks) == whole == chunks[-1].text
    so_far = ""
    for chunk in chunks:
        so_far += chunk.delta
        assert chunk.text == so_far
    assert [chunk.raw for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


@pytest.mark.parametrize("stream", [False, True])
def test_token_counting_handler_reads_the_usage(llm, handles, stream):
    counter = TokenCountingHandler()
    llm.callback_manager = CallbackManager([counter])
    prompt = f"{handles[0]} {QUESTION}"
    raw = (list(llm.stream_complete(prompt))[-1] if stream else llm.complete(prompt)).raw
    assert counter.prompt_llm_token_count == raw["usage"]["prompt_tokens"]
    assert counter.completion_llm_token_count == raw["usage"]["completion_tokens"]


def test_formatted_prompts_are_not_templated_again_and_have_one_bos(llm, shared_engine):
    tokens = shared_engine.tokens
    rendered = tokens.render_chat([{"role": "user", "content": QUESTION}])
    formatted = llm.complete(rendered, formatted=True)
    assert formatted.text == llm.complete(QUESTION).text == text_of(llm.chat(user(QUESTION)))
    ids = tokens.encode_template(rendered)
    assert ids.count(tokens.bos_id) == 1
    assert formatted.raw["usage"]["prompt_tokens"] == len(ids)


def test_own_templates_are_used(shared_engine):
    rendered = shared_engine.tokens.render_chat([{"role": "user", "content": QUESTION}])
    llm = SACLLM.from_engine(
        shared_engine,
        max_new_tokens=8,
        completion_to_prompt=lambda prompt: rendered.replace(QUESTION, prompt),
        messages_to_prompt=lambda messages: rendered.replace(QUESTION, messages[0].content),
    )
    plain = SACLLM.from_engine(shared_engine, max_new_tokens=8)
    assert llm.complete(QUESTION).text == plain.complete(QUESTION).text
    assert text_of(llm.chat(user(QUESTION))) == text_of(plain.chat(user(QUESTION)))


def test_the_answer_through_the_adapters_template_is_the_engines(llm, handles, shared_engine):
    answer = shared_engine.answer(QUESTION, TEXTS, max_new_tokens=8)
    context = "\n\n".join(handles)
    given = llm.predict(llm.text_qa_template(), context_str=context, query_str=QUESTION)
    assert given == answer.text


def test_braces_in_documents_and_questions_stay(llm, shared_engine):
    question, text = "What is {query_str} in {braces}?", "In {context_str}, {0} is {x}."
    [handle] = shared_engine.issue([text])
    answer = shared_engine.answer(question, [text], max_new_tokens=8)
    template = llm.text_qa_template()
    assert llm.predict(template, context_str=handle.text, query_str=question) == answer.text


async def test_arguments_of_a_call_are_honoured_by_every_endpoint(llm):
    for response in await all_endpoints(llm, QUESTION, max_new_tokens=3):
        assert response.raw["usage"]["completion_tokens"] <= 3
    for response in await all_endpoints(llm, QUESTION, max_tokens=2):
        assert response.raw["usage"]["completion_tokens"] <= 2


def test_sampling_is_honoured(llm):
    drawn = {llm.complete(QUESTION, temperature=5.0, seed=seed).text for seed in range(4)}
    assert len(drawn) > 1
    again = [llm.complete(QUESTION, temperature=5.0, seed=3).text for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("call", ["complete", "stream_complete", "chat", "stream_chat"])
def test_unknown_arguments_are_refused_at_the_call(llm, call):
    asked = QUESTION if "complete" in call else user(QUESTION)
    with pytest.raises(TypeError, match="temprature"):
        getattr(llm, call)(asked, temprature=1.0)


@pytest.mark.parametrize("call", ["acomplete", "astream_complete", "achat", "astream_chat"])
async def test_unknown_arguments_are_refused_at_the_async_call(llm, call):
    asked = QUESTION if "complete" in call else user(QUESTION)
    with pytest.raises(TypeError, match="temprature"):
        await getattr(llm, call)(asked, temprature=1.0)


async def test_stop_texts_end_the_answer_in_every_endpoint(llm):
    whole = llm.complete(QUESTION, max_new_tokens=24).text
    stop = whole[5:8]
    expected = whole[: whole.index(stop)]
    for response in await all_endpoints(llm, QUESTION, max_new_tokens=24, stop=[stop]):
        assert text_of(response) == expected
        assert response.raw["stop_reason"] == stop


def test_stop_texts_can_be_settings(shared_engine, llm):
    whole = llm.complete(QUESTION, max_new_tokens=24).text
    stopping = SACLLM.from_engine(shared_engine, max_new_tokens=24, stop=[whole[5:8]])
    assert stopping.complete(QUESTION).text == whole[: whole.index(whole[5:8])]


def test_metadata_is_the_models(llm, shared_engine):
    assert llm.metadata.context_window == shared_engine.window == 4096
    assert llm.metadata.num_output == 8
    assert llm.metadata.is_chat_model is True
    assert llm.metadata.model_name == shared_engine.name
    narrow = SACLLM.from_engine(shared_engine, context_window=1000)
    assert narrow.metadata.context_window == 1000


def test_a_handle_named_twice_is_read_once(llm, handles):
    once = llm.complete(f"{handles[0]} {QUESTION}")
    twice = llm.complete(f"{handles[0]}\n\n{handles[0]} {QUESTION}")
    assert twice.raw["usage"] == once.raw["usage"]
    turns = [*user(f"{handles[0]} Where is it?"), *user(f"{handles[0]} {QUESTION}")]
    assert llm.chat(turns).raw["usage"]["anchor_tokens"] == once.raw["usage"]["anchor_tokens"]


@pytest.mark.parametrize("call", ["complete", "stream_complete"])
def test_cut_handles_name_the_prompt_helper(llm, handles, call):
    with pytest.raises(InvalidHandleError, match=r"prompt_helper\(\)"):
        getattr(llm, call)(handles[0][:30] + f" {QUESTION}")


def test_forged_handles_are_refused(llm, handles):
    forged = handles[0][:-2] + ("0" if handles[0][-2] != "0" else "1") + "⟧"
    with pytest.raises(HandleForgeryError):
        llm.complete(f"{forged} {QUESTION}")


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_empty_prompts_are_refused(llm, prompt):
    with pytest.raises(EmptyInputError):
        llm.complete(prompt)
    with pytest.raises(EmptyInputError):
        llm.complete(prompt, formatted=True)
    with pytest.raises(EmptyInputError):
        llm.chat(user(prompt))


def test_settings_that_make_no_sense_are_refused(llm):
    with pytest.raises(ConfigError, match="max_new_tokens"):
        llm.complete(QUESTION, max_new_tokens=0)
    with pytest.raises(ValueError, match="max_new_tokens"):
        SACLLM(max_new_tokens=0)
