"""Pieces of a classifier's tokenizer to words and windows, as LLMLingua-2 cuts them."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A token of the classifier, by the characters that it stands for."""

    id: int
    """In the classifier's vocabulary."""
    part: int
    """Which run of characters without a space, or as its tokenizer splits, it belongs to."""
    start: int
    """Its first character, white space left out."""
    end: int
    """Where it ends, in characters."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a text, and how likely it is to be worth keeping."""

    start: int
    """Its first character."""
    end: int
    """Where it ends, in characters."""
    keep: float
    """Probability, the mean over its pieces."""
    window: int = 0
    """Which window of the text it was read in."""


def pieces_of(text: str, tokenizer: Any) -> list[Piece]:
    """Cut a text into its classifier's pieces; no special tokens, no white space.

    Args:
        text: Of any length.
        tokenizer: A fast tokenizer of transformers.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    pieces = []
    for piece_id, part, (start, end) in zip(
        encoded["input_ids"], encoded.word_ids(), encoded["offset_mapping"], strict=True
    ):
        spelled = text[start:end]
        start, end = start + len(spelled) - len(spelled.lstrip()), start + len(spelled.rstrip())
        if start < end:
            pieces.append(Piece(id=piece_id, part=part, start=start, end=end))
    return pieces


def group_words(text: str, pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Put pieces together to words: one begins behind white space and at punctuation.

    A bare mark of a space (``▁``, which has the place of what follows) counts to the word behind
    it, but not to punctuation, which is a word of its own.
    """
    words: list[list[Piece]] = []
    for piece in pieces:
        if not words or _begins_word(text, piece, words[-1][-1]):
            words.append([piece])
        elif piece.start == words[-1][-1].start and _is_punctuation(text, piece):
            words[-1] = [piece]
        else:
            words[-1].append(piece)
    return words


def cut_windows(text: str, pieces: Sequence[Piece], *, room: int) -> Iterator[tuple[int, int]]:
    """Cut a text in windows of at most ``room`` pieces: (first, last) among them, last left out.

    A window ends where a sentence or a line does, if one does; else with a word; a word that is
    longer than a window is cut.
    """
    first = 0
    while first < len(pieces):
        last = min(first + room, len(pieces))
        if last < len(pieces):
            inside = range(last, first, -1)
            whole = (cut for cut in inside if _ends_sentence(text, pieces[cut - 1], pieces[cut]))
            word = (cut for cut in inside if _begins_word(text, pieces[cut], pieces[cut - 1]))
            last = next(whole, None) or next(word, last)
        yield first, last
        first = last


def _begins_word(text: str, piece: Piece, before: Piece) -> bool:
    if piece.part != before.part or piece.start > before.end:
        return True
    return piece.start != before.start and _is_punctuation(text, piece)


def _is_punctuation(text: str, piece: Piece) -> bool:
    return all(letter in string.punctuation for letter in text[piece.start : piece.end])


def _ends_sentence(text: str, piece: Piece, after: Piece) -> bool:
    return text[piece.start : piece.end] == "." or "\n" in text[piece.end : after.start]
