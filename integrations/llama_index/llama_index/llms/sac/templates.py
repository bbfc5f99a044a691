"""Prompt templates in the format that an adapter was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate, PromptTemplate

if TYPE_CHECKING:
    from sac_rag.prompts import PromptFormat

FORMATTED = "sac_formatted"
"""Marks a message whose text is the whole prompt already: no chat template around it."""
REFINED_QUESTION = "{query_str}\n(Answer from other documents: {existing_answer})"


def text_qa_template(prompt_format: PromptFormat, *, chat: bool) -> BasePromptTemplate:
    """Write context, then question, as the adapter knows them.

    Args:
        prompt_format: The adapter's.
        chat: Whether LlamaIndex talks to the model in messages.
    """
    return _template("{context_str}" + prompt_format.question("{query_str}"), chat=chat)


def refine_template(prompt_format: PromptFormat, *, chat: bool) -> BasePromptTemplate:
    """Write further context, then the question with the answer so far.

    Args:
        prompt_format: The adapter's.
        chat: Whether LlamaIndex talks to the model in messages.
    """
    return _template("{context_msg}" + prompt_format.question(REFINED_QUESTION), chat=chat)


def _template(text: str, *, chat: bool) -> BasePromptTemplate:
    if not chat:
        return PromptTemplate(text)
    message = ChatMessage(content=text, additional_kwargs={FORMATTED: True})
    return ChatPromptTemplate(message_templates=[message])
