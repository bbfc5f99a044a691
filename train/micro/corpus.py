"""What micro reads: plain texts, questions, and the parts of both that are held out.

Data comes from a folder that the user names: ``text/*.txt.xz`` (documents behind each other, a line
``<|endoftext|>`` between two) and ``qa/*.jsonl.xz`` (``{"context", "question", "answers"}``), read
by the library's own readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from sac_rag.data import QARecord, read_qa, read_texts

TEXTS = ("enwiki_train", "enwiki2018_new", "fairytales_train", "onestopenglish", "novels100")
"""Texts, the most useful first; where not all can be carried, the first ones go."""
VALID = "wikitext2_valid"
"""For perplexity alone."""
HELD_OUT_FROM, HELD_OUT_EVERY = "enwiki_train", 200
"""Every 200th document of this text is never trained on."""
_OF_BOTH = (
    "squadshifts_amazon",
    "squadshifts_newwiki",
    "squadshifts_reddit",
    "nq_open_gold",
    "nq_qed",
    "nq_swap",
    "fairytaleqa",
)
"""Questions with a part to train on and one to be asked."""
TRAIN_SETS = ("squad11_part", *_OF_BOTH, "bioasq")
"""Questions that are trained on: ``qa/NAME.train.jsonl.xz``."""
IN_DOMAIN = ("squad11_half", *_OF_BOTH)
"""Sets of the in-domain average: ``qa/NAME.dev.jsonl.xz``."""
OUT_OF_DOMAIN = ("policyqa", "clapnq_longform", "pubmedqa")
"""Sets of the out-of-domain average: nothing like them is trained on."""
SHINGLE_WORDS = 12
"""Words in a row that, when two texts share them, make one a copy of the other."""


def text_path(data: Path, name: str) -> Path:
    """Give the file of a text."""
    return data / "text" / f"{name}.txt.xz"


def qa_paths(data: Path, names: Iterable[str], *, split: str) -> list[Path]:
    """Give the files of question sets; ``split`` is ``train`` or ``dev``."""
    return [data / "qa" / f"{name}.{split}.jsonl.xz" for name in names]


def training_texts(data: Path, name: str) -> Iterator[str]:
    """Read a text's documents, but those that are held out."""
    for index, record in enumerate(read_texts(text_path(data, name))):
        if name != HELD_OUT_FROM or index % HELD_OUT_EVERY:
            yield record.text


def held_out_texts(data: Path) -> Iterator[str]:
    """Read the documents that are never trained on."""
    for index, record in enumerate(read_texts(text_path(data, HELD_OUT_FROM))):
        if index % HELD_OUT_EVERY == 0:
            yield record.text


def valid_texts(data: Path) -> Iterator[str]:
    """Read the text that is kept for perplexity."""
    for record in read_texts(text_path(data, VALID)):
        yield record.text


def training_questions(data: Path, names: Sequence[str] = TRAIN_SETS) -> Iterator[QARecord]:
    """Read the questions that are trained on, of those sets that the folder has."""
    found = [path for path in qa_paths(data, names, split="train") if path.is_file()]
    return read_qa(found)


class Contexts:
    """Remembers texts, and tells a text that repeats part of one.

    Questions cut by machine must not be about a paragraph that a development set asks about.

    >>> words = "the quick brown fox jumps over the lazy dog and then sleeps until noon"
    >>> seen = Contexts([words])
    >>> seen.repeats(f"Once more: {words}."), seen.repeats("Something else entirely.")
    (True, False)
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._seen = {one for text in set(texts) for one in _shingles(text)}

    def repeats(self, text: str) -> bool:
        """Tell whether a run of ``SHINGLE_WORDS`` words stands in a remembered text."""
        return any(one in self._seen for one in _shingles(text))


def development_contexts(data: Path) -> Contexts:
    """Remember the contexts of every development set that the folder has."""
    paths = qa_paths(data, (*IN_DOMAIN, *OUT_OF_DOMAIN, "bioasq"), split="dev")
    found = [path for path in paths if path.is_file()]
    texts = (document.text for record in read_qa(found) for document in record.documents)
    return Contexts(texts if found else ())


def _shingles(text: str) -> Iterator[int]:
    words = ["".join(filter(str.isalnum, word)).lower() for word in text.split()]
    words = [word for word in words if word]
    for first in range(len(words) - SHINGLE_WORDS + 1):
        run = " ".join(words[first : first + SHINGLE_WORDS])
        # not hash(): its value differs from process to process
        yield int.from_bytes(blake2b(run.encode(), digest_size=8).digest(), "big")
