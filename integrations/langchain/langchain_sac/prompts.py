"""What a caller gives, as the one text that LangChain's cache, traces and model will see."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue

from langchain_sac.blocks import asked_in, read_messages
from langchain_sac.documents import Documents, as_engine_document, as_list, question_for
from langchain_sac.rendering import Prompt, by_template, seal

if TYPE_CHECKING:
    from langchain_sac.settings import SACModel


def prompt_text(
    value: PromptValue,
    model: SACModel,
    documents: Documents | None,
    *,
    cancel: threading.Event | None = None,
) -> str:
    """Write a prompt: handles for its documents, then its text.

    Messages are rendered as ``model.use_chat_template`` says. A plain string stays as it is,
    unless ``documents`` make it the question about them, or the chat template is insisted on.

    Args:
        value: A string or messages, with document blocks or not.
        model: Renders and compresses.
        documents: What the prompt is about; None if that is in it already.
        cancel: When set, compressing stops.

    Raises:
        UnsupportedContentError: If a block is not text, or a document of no known kind.
        EmptyInputError: If a document holds no text.
        ConfigError: If the adapter is query-aware, and nothing is asked, or a handle among
            ``documents`` was made for another question.
    """
    engine = model.engine
    found = [as_engine_document(one, engine) for one in as_list(documents or [])]
    asked = value.to_string
    if isinstance(value, ChatPromptValue):
        turns = read_messages(value.to_messages(), engine)
        found += [document for turn in turns for document in turn.documents]
        asked = partial(asked_in, turns, engine)
        prompt = model.render(turns)
    elif model.use_chat_template == "always":
        prompt = by_template(read_messages([HumanMessage(value.to_string())], engine), engine)
    elif documents is not None:
        prompt = Prompt(engine.prompt_format.question(value.to_string()), from_template=False)
    else:
        prompt = Prompt(value.to_string(), from_template=False)
    question = question_for(found, engine, asked)
    handles = engine.issue(found, question=question, cancel=cancel) if found else []
    text = "".join(dict.fromkeys(handle.text for handle in handles)) + prompt.text
    return seal(Prompt(text, prompt.from_template), engine)
