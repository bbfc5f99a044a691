"""Handles: short signed texts that stand for stored documents inside a prompt.

``⟦sac:1:<32 hex key>:<anchors>:<16 hex mac>⟧`` travels through every component that passes text
on. The signature is keyed per store and covers the namespace, so a handle can be neither made up
nor carried to another tenant. Within one namespace a genuine handle can be repeated by whoever saw
it: put text that users or models wrote through ``sanitize``.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from sac_rag.errors import ConfigError, HandleForgeryError, InvalidHandleError

_WHOLE = r"⟦sac:1:(?P<key>[0-9a-f]{32}):(?P<anchors>[1-9][0-9]{0,8}):(?P<mac>[0-9a-f]{16})⟧"
_PIECES = (
    r"⟦\s*sac\s*:(?:[0-9a-f:\s]*⟧)?",  # the beginning of a handle, whatever follows
    r"⟦s(?:ac?)?\Z",  # cut right after its first letters
    r"sac\s*:\s*[0-9]+\s*:[0-9a-f:\s]*⟧",  # its beginning lost
    r":\s*[0-9a-f]{16}\s*⟧",  # only its end
)
_BROKEN = "(?i:" + "|".join(_PIECES) + ")"
_LIKE = re.compile(f"{_WHOLE}|(?P<broken>{_BROKEN})")
_EXCERPT = 24
_INERT = str.maketrans("⟦⟧", "[]")


@dataclass(frozen=True, kw_only=True)
class Handle:
    """A handle whose signature was checked."""

    key: str
    """Of the stored document, 32 hex digits."""
    num_anchors: int
    """That the document takes in the prompt."""
    text: str
    """The handle as it stood in the prompt."""


def issue(secret: bytes, *, namespace: str, key: str, num_anchors: int) -> str:
    """Write the handle of a stored document.

    Args:
        secret: The store's.
        namespace: The store's.
        key: The document's, 32 hex digits.
        num_anchors: That the document takes in the prompt, 1 to 999,999,999.

    Raises:
        ConfigError: If key or number cannot stand in a handle.
    """
    mac = _mac(secret, namespace=namespace, key=key, anchors=str(num_anchors))
    text = f"⟦sac:1:{key}:{num_anchors}:{mac}⟧"
    if not re.fullmatch(_WHOLE, text):
        raise ConfigError(
            f"asked for a handle of key {key!r} with {num_anchors!r} anchors; a key is 32 hex "
            "digits (AnchorStore.key_for), anchors are 1 to 999,999,999"
        )
    return text


def split(text: str, *, secret: bytes, namespace: str) -> list[str | Handle]:
    """Take a prompt apart into plain texts and verified handles, in order; their texts join to it.

    Args:
        text: The prompt. Brackets that look like no handle are plain text.
        secret: The store's.
        namespace: The store's.

    Raises:
        InvalidHandleError: If a handle is malformed, or a piece of one.
        HandleForgeryError: If this store did not issue it in this namespace.
    """
    parts: list[str | Handle] = []
    end = 0
    for match in _matches(text):
        parts += [text[end : match.start()], _verified(match, secret=secret, namespace=namespace)]
        end = match.end()
    parts.append(text[end:])
    return [part for part in parts if part != ""]


def contains_handle(text: str) -> bool:
    """Tell whether a text holds a handle, whole, forged or broken: whether ``split`` finds one."""
    return any(True for _ in _matches(text))


def sanitize(text: str) -> str:
    """Make everything that looks like a handle, or a piece of one, inert; the rest stays.

    Its ``⟦`` and ``⟧`` become ``[`` and ``]``, so the length stays too, and a second time changes
    nothing. For what users and models wrote, taken as a whole: pieces that are harmless each on
    its own can make a handle when they are joined afterwards.
    """
    if "⟦" not in text and "⟧" not in text:
        return text
    return _LIKE.sub(lambda match: match[0].translate(_INERT), text)


def _matches(text: str):
    # Most texts hold no bracket; for those this costs two searches for a character.
    return _LIKE.finditer(text) if "⟦" in text or "⟧" in text else iter(())


def _verified(match: re.Match[str], *, secret: bytes, namespace: str) -> Handle:
    if match["broken"] is not None:
        start = max(0, match.start() - _EXCERPT)
        excerpt = match.string[start : match.end() + _EXCERPT]
        raise InvalidHandleError(
            f"a piece of a document handle, not a whole one, at character {match.start()}: "
            f"{excerpt!r}. A text splitter probably cut it: split before compressing, set "
            "the chunk overlap to 0 and the chunk size by the engine's own token count "
            "(prompt_helper() does both); if a user or a model wrote it, use sanitize()"
        )
    expected = _mac(secret, namespace=namespace, key=match["key"], anchors=match["anchors"])
    if not hmac.compare_digest(expected, match["mac"]):
        raise HandleForgeryError(
            f"the handle at character {match.start()} ({match['key'][:8]}...) was not issued by "
            f"this store in namespace {namespace!r}; give compressor and model the same store and "
            "namespace (or the same SAC_RAG_HANDLE_KEY), and use sanitize() on text from users"
        )
    return Handle(key=match["key"], num_anchors=int(match["anchors"]), text=match[0])


def _mac(secret: bytes, *, namespace: str, key: str, anchors: str) -> str:
    message = f"1|{namespace}|{key}|{anchors}".encode("utf-8", "surrogatepass")
    return hmac.new(secret, message, "sha256").hexdigest()[:16]


__all__ = ["Handle", "contains_handle", "issue", "sanitize", "split"]
