"""Tokens to text as they come: whole characters only, stop texts matched across tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sac_rag.tokens import Tokens

_UNFINISHED = "\ufffd"
_LONGEST_CHARACTER = 4
"""Bytes, and so tokens, that a character can take; what is unfinished after them is broken."""


class TextStream:
    """Turns the tokens of one answer into text pieces; joined, they are the answer.

    Text is held back while it could be the beginning of a stop text or of a character.

    Args:
        tokens: The tokenizer.
        stop: Texts that end the answer.
    """

    def __init__(self, tokens: Tokens, *, stop: Sequence[str] = ()) -> None:
        self._tokens = tokens
        self._stop = tuple(stop)
        self._window_from = 0
        self._shown_to = 0
        self._held = ""
        self.token_ids: list[int] = []
        self.pieces: list[str] = []
        self.finish_reason: str | None = None
        self.stop_reason: str | None = None

    @property
    def text(self) -> str:
        """What has been shown so far."""
        return "".join(self.pieces)

    def push(self, token_id: int) -> str:
        """Take one more token; give the text that may be shown now, often none."""
        self.token_ids.append(token_id)
        if token_id in self._tokens.eos_ids:
            self.finish_reason = "stop"
            return ""
        self._held += self._new_text(final=False)
        return self._release()

    def finish(self) -> str:
        """End the answer (its reason is ``length`` if nothing ended it); give the rest."""
        if self.stop_reason is not None:
            return ""
        self._held += self._new_text(final=True)
        shown = self._release()
        rest, self._held = ("" if self.stop_reason else self._held), ""
        if rest:
            self.pieces.append(rest)
        self.finish_reason = self.finish_reason or "length"
        return shown + rest

    def _new_text(self, *, final: bool) -> str:
        """Decode what is new, within a window that always starts at a shown token."""
        before = self._tokens.decode(self.token_ids[self._window_from : self._shown_to])
        now = self._tokens.decode(self.token_ids[self._window_from :])
        waiting = len(self.token_ids) - self._shown_to < _LONGEST_CHARACTER
        if len(now) <= len(before) or (now.endswith(_UNFINISHED) and waiting and not final):
            return ""
        self._window_from, self._shown_to = self._shown_to, len(self.token_ids)
        return now[len(before) :]

    def _release(self) -> str:
        found = [(self._held.find(stop), stop) for stop in self._stop if stop in self._held]
        if found:
            spot, self.stop_reason = min(found)
            self.finish_reason = "stop"
            shown, self._held = self._held[:spot], ""
        else:
            keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
            spot = len(self._held) - keep
            shown, self._held = self._held[:spot], self._held[spot:]
        if shown:
            self.pieces.append(shown)
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
