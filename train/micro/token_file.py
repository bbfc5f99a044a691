"""Texts as token ids in a file that is mapped, not read; windows of it in an order by seed.

A file holds documents behind each other, each as BOS, text, EOS, in uint16. It travels compressed
(``.npy.xz``) and is unpacked once where it is used.
"""

from __future__ import annotations

import lzma
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1, "dict_size": 1 << 27}]
"""For pairs of bytes: the low byte of a token has little to say about its high byte."""
BATCH = 256
"""Documents that are turned into tokens together."""


def encode_documents(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase
) -> Iterator[np.ndarray]:
    """Turn each text into BOS, its ids, EOS."""
    ends = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    rest = iter(texts)
    while batch := list(islice(rest, BATCH)):
        rows = tokenizer(batch, add_special_tokens=False, split_special_tokens=True, verbose=False)
        for ids in rows["input_ids"]:  # type: ignore[union-attr]
            yield np.array([*ends[0], *ids, *ends[1]], dtype=np.uint16)


def write_tokens(path: Path, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> int:
    """Write texts as one token file.

    Returns:
        The number of tokens.

    Raises:
        ValueError: If there is no text, or ids do not fit into 16 bits.
    """
    if len(tokenizer) > 1 << 16:
        raise ValueError(f"{len(tokenizer)} pieces do not fit into uint16; train a smaller one")
    rows = list(encode_documents(texts, tokenizer))
    if not rows:
        raise ValueError(f"there is no text for {path}; check the data folder")
    ids = np.concatenate(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, ids)
    temporary.replace(path)
    return len(ids)


def squeeze(path: Path, out: Path) -> int:
    """Compress a token file for a journey; give its size in bytes."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    with path.open("rb") as read, lzma.open(temporary, "wb", filters=FILTERS) as written:
        shutil.copyfileobj(read, written, 1 << 20)
    temporary.replace(out)
    return out.stat().st_size


def unpacked(path: Path) -> Path:
    """Give a plain file: ``path`` itself, or ``path`` without ``.xz``, unpacked beside it once."""
    if path.suffix != ".xz":
        return path
    plain = path.with_suffix("")
    if not plain.exists() or plain.stat().st_mtime < path.stat().st_mtime:
        temporary = plain.with_name(f".{plain.name}.{os.getpid()}")
        with lzma.open(path) as read, temporary.open("wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
        temporary.replace(plain)
    return plain


def open_tokens(path: Path) -> np.ndarray:
    """Map a token file, (N,) uint16."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def documents(ids: np.ndarray, *, bos: int) -> Iterator[np.ndarray]:
    """Cut a token file into its documents, without BOS and EOS."""
    starts = np.flatnonzero(ids == bos)
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        yield ids[start + 1 : end - 1]


class Windows:
    """Runs of tokens from several files, each once per pass, in an order that a seed fixes.

    What row ``n`` of a run is follows from files, seed and ``n`` alone: a run that was cut off
    goes on with the very rows that it would have read.

    Args:
        files: Token files, (N,) each.
        width: Tokens of a window, one more than the model predicts.
        seed: Of the order.
    """

    def __init__(self, files: Sequence[np.ndarray], *, width: int, seed: int) -> None:
        # one window less than fits, so that every pass can begin at a place of its own
        self._counts = [max(0, (len(one) - 1) // (width - 1) - 1) for one in files]
        if not sum(self._counts):
            sizes = ", ".join(f"{len(one):,}" for one in files)
            raise ValueError(f"files of {sizes} tokens hold no two windows of {width}")
        self._files, self.width, self._seed = list(files), width, seed
        self._pass, self._order, self._shift = -1, np.empty(0, np.int64), 0

    def __len__(self) -> int:
        """Windows of one pass."""
        return sum(self._counts)

    def row(self, number: int) -> np.ndarray:
        """Give row ``number`` of the run, (width,); passes follow each other."""
        turn, index = divmod(number, len(self))
        if turn != self._pass:
            draw = np.random.default_rng((self._seed, turn))
            self._order, self._pass = draw.permutation(len(self)), turn
            self._shift = int(draw.integers(self.width - 1))
        window = int(self._order[index])
        for file, count in zip(self._files, self._counts, strict=True):
            if window < count:
                start = window * (self.width - 1) + self._shift
                return file[start : start + self.width].astype(np.int64)
            window -= count
        raise AssertionError("an order holds each window once")

    def rows(self, first: int, count: int) -> np.ndarray:
        """Give ``count`` rows from ``first`` on, (count, width)."""
        return np.stack([self.row(number) for number in range(first, first + count)])
