"""Where tokens stand in the text that they spell, for any tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from sac_rag.tokens import Tokens

_PART = "\ufffd"
"""What a decoder writes for bytes that are no whole character yet."""


def token_spans(token_ids: Sequence[int], tokens: Tokens) -> tuple[str, list[tuple[int, int]]]:
    """Spell tokens out and say which characters each stands for.

    Tokens that share a character (parts of its bytes) have the same span; special tokens, and
    whatever else leaves no trace in the text, have an empty one.

    Args:
        token_ids: Any tokens, e.g. a chunk that begins amid a text.
        tokens: Their tokenizer.

    Returns:
        The text, and (start, end) in characters for each token.
    """
    text = ""
    spans: list[tuple[int, int]] = []
    # decoded in a window of two steps: a token's spelling depends on the one before it (spaces),
    # and decoding from the start each time would be quadratic
    before = begin = 0
    for index in range(len(token_ids)):
        known = tokens.decode(token_ids[before:begin])
        longer = tokens.decode(token_ids[before : index + 1])
        if longer.endswith(_PART) and index + 1 < len(token_ids):
            continue
        piece = longer[len(known) :]
        spans += [(len(text), len(text) + len(piece))] * (index + 1 - begin)
        text += piece
        before, begin = begin, index + 1
    return text, spans
