"""Conversations to prompts: by the model's chat template, or in the adapter's question format.

What people said is data. A special token's string inside a message is marked before the template
is rendered and encoded as plain text afterwards, so that nobody can close their own turn.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_sac.blocks import Turn
from sac_rag.errors import ConfigError

if TYPE_CHECKING:
    from sac_rag import SACEngine
    from sac_rag.engine.requests import Segment

ChatTemplateUse = Literal["auto", "always", "never"]

_OPEN, _CLOSE = "\ue0f0", "\ue0f1"  # private use: no text means anything by them
_MARKED = re.compile(f"{_OPEN}({_OPEN}|{_CLOSE}|[^{_CLOSE}]+){_CLOSE}")
_SEAL = re.compile(r"⟦chat (?P<mac>[0-9a-f]{16})⟧")  # ":" would make it look like a cut handle


class Prompt(NamedTuple):
    """A rendered prompt; handles may stand in it."""

    text: str
    """With marks around special tokens' strings, if a template wrote it."""
    from_template: bool
    """Whether special tokens outside the marks are meant as such."""


def by_template(turns: Sequence[Turn], engine: SACEngine) -> Prompt:
    """Render with the tokenizer's chat template.

    Raises:
        ConfigError: If there is none, or it refuses this conversation.
    """
    if not engine.tokens.has_chat_template:
        raise ConfigError(
            f"model {engine.name!r} has no chat template; set use_chat_template='never' to ask in "
            "the adapter's question format, or use an instruct model"
        )
    special = _special_tokens(engine)
    messages = [{"role": turn.role, "content": _mark(turn.text, special)} for turn in turns]
    from jinja2 import TemplateError  # comes with transformers' chat templates

    try:
        return Prompt(engine.tokens.render_chat(messages), from_template=True)
    except TemplateError as error:
        raise ConfigError(
            f"the chat template of {engine.name!r} refuses a conversation of "
            f"{', '.join(turn.role for turn in turns)}: {error}; change the messages, or set "
            "use_chat_template='never'"
        ) from error


def by_question(turns: Sequence[Turn], engine: SACEngine) -> Prompt:
    """Write in the adapter's question format: the text itself, or a transcript of several turns."""
    if len(turns) == 1 and turns[0].role == "user":
        text = turns[0].text
    else:
        text = "\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in turns)
    return Prompt(engine.prompt_format.question(text), from_template=False)


def by_what_there_is(turns: Sequence[Turn], engine: SACEngine) -> Prompt:
    """Render with the chat template if there is one, else in the question format."""
    render = by_template if engine.tokens.has_chat_template else by_question
    return render(turns, engine)


RENDERERS: dict[ChatTemplateUse, Callable[[Sequence[Turn], SACEngine], Prompt]] = {
    "auto": by_what_there_is,
    "always": by_template,
    "never": by_question,
}


def segments(prompt: Prompt, engine: SACEngine) -> list[Segment]:
    """Read a prompt as the engine takes it: handles to documents, template text to chat text.

    Raises:
        InvalidHandleError: If a handle is cut, malformed, or not this store's.
    """
    resolved = engine.resolve(prompt.text)
    if not prompt.from_template:
        return resolved
    return [
        piece
        for segment in resolved
        for piece in (_unmark(segment) if isinstance(segment, str) else [segment])
    ]


def seal(prompt: Prompt, engine: SACEngine) -> str:
    """Write a prompt as the one string that LangChain passes on; ``unseal`` reads it.

    A rendered template is signed: a text that only looks like one must not reach the model with
    live special tokens.
    """
    if not prompt.from_template:
        return prompt.text
    return f"⟦chat {_mac(prompt.text, engine)}⟧{prompt.text}"


def unseal(text: str, engine: SACEngine) -> Prompt:
    """Read a prompt; without a right signature it is plain text."""
    match = _SEAL.match(text)
    if match:
        rendered = text[match.end() :]
        if hmac.compare_digest(match["mac"], _mac(rendered, engine)):
            return Prompt(rendered, from_template=True)
    return Prompt(text, from_template=False)


def _mac(text: str, engine: SACEngine) -> str:
    message = b"chat|" + text.encode("utf-8", "surrogatepass")
    return hmac.new(engine.store.secret, message, "sha256").hexdigest()[:16]


def _special_tokens(engine: SACEngine) -> list[str]:
    tokenizer = engine.tokens.tokenizer
    added = [str(one) for one in tokenizer.added_tokens_decoder.values() if one.special]
    return [text for text in {*added, *map(str, tokenizer.all_special_tokens)} if text]


def _mark(text: str, special: Sequence[str]) -> str:
    longest_first = sorted([*special, _OPEN, _CLOSE], key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda match: _OPEN + match[0] + _CLOSE, text)


def _unmark(text: str) -> list[Segment]:
    from sac_rag.engine import ChatText

    # split() gives text, marked, text, marked, ..., text
    pieces = enumerate(_MARKED.split(text))
    return [piece if index % 2 else ChatText(text=piece) for index, piece in pieces if piece]
