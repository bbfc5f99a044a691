"""Prepared data: samples on disk, made once for the same sources, tokenizer, settings and code."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sac_rag.data.cache import cached
from sac_rag.data.reading import read_qa, read_texts
from sac_rag.data.report import ReadReport
from sac_rag.data.samples import (
    PretrainSettings,
    QASettings,
    Sample,
    pretraining_pairs,
    qa_samples,
)
from sac_rag.data.sources import Source, SourceLike, open_sources
from sac_rag.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from sac_rag.tokens import Tokens

PAIR_COLUMNS = {"id": "string", "context_ids": "ids", "target_ids": "ids"}
QA_COLUMNS = {
    "id": "string",
    "source": "string",
    "context_ids": "lists of ids",
    "question_ids": "ids",
    "answer_ids": "ids",
    "gold": "string",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Samples, and how they came to be."""

    dataset: Dataset
    """The samples in reading order, memory-mapped; see ``sac_rag.data.samples``."""
    folder: Path
    """Where they lie; ``datasets.load_from_disk(folder / "rows")`` reads them too."""
    read: dict[str, int]
    """Good records by file or set."""
    left_out: dict[str, int]
    """Good records that were too long or too short."""
    bad: list[dict[str, str]]
    """Bad records: ``where`` and ``reason``."""


def prepare_pretraining(
    sources: SourceLike | Sequence[SourceLike],
    *,
    tokens: Tokens,
    settings: PretrainSettings | None = None,
    cache: Path | None = None,
    max_bad: int = 0,
) -> Prepared:
    """Cut texts into contexts and continuations; see ``pretraining_pairs``.

    Args:
        sources: See ``open_sources``.
        tokens: The tokenizer.
        settings: Bounds; by default the paper's.
        cache: Folder of prepared data; None for ``default_cache()``.
        max_bad: Bad records that are passed over before the data is refused.

    Raises:
        DataError: If a source is missing, damaged or too bad, or no text is of the right length.
        StoreWriteError: If the cache cannot be written.
    """
    chosen = settings or PretrainSettings()

    def make(opened: Sequence[Source], report: ReadReport, left_out: Counter[str]):
        texts = read_texts(opened, report=report)
        return pretraining_pairs(texts, tokens=tokens, settings=chosen, left_out=left_out)

    key = {"kind": "pretraining", **asdict(chosen)}
    return _prepare(sources, make, key, PAIR_COLUMNS, tokens, cache, max_bad)


def prepare_qa(
    sources: SourceLike | Sequence[SourceLike],
    *,
    tokens: Tokens,
    settings: QASettings | None = None,
    cache: Path | None = None,
    max_bad: int = 0,
) -> Prepared:
    """Write questions as token ids; see ``qa_samples``. Arguments as ``prepare_pretraining``."""
    chosen = settings or QASettings()

    def make(opened: Sequence[Source], report: ReadReport, left_out: Counter[str]):
        records = read_qa(opened, report=report)
        return qa_samples(records, tokens=tokens, settings=chosen, left_out=left_out)

    key = {"kind": "qa", **asdict(chosen)}
    return _prepare(sources, make, key, QA_COLUMNS, tokens, cache, max_bad)


def default_cache() -> Path:
    """Give the user's folder of prepared data: ``$SAC_RAG_CACHE``, or below ``~/.cache``."""
    named = os.environ.get("SAC_RAG_CACHE")
    if named:
        return Path(named).expanduser() / "prepared"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "sac-rag" / "prepared"


def _prepare(
    sources: SourceLike | Sequence[SourceLike],
    make: Callable[[Sequence[Source], ReadReport, Counter[str]], Iterator[Sample]],
    key: dict[str, Any],
    columns: dict[str, str],
    tokens: Tokens,
    cache: Path | None,
    max_bad: int,
) -> Prepared:
    opened = open_sources(sources)
    report, left_out = ReadReport(max_bad=max_bad), Counter[str]()
    made_from = {
        "sources": [source.identity() for source in opened],
        "tokenizer": hash_tokenizer(tokens),
        "settings": key,
        "code": _hash_code(),
    }

    def facts() -> dict[str, Any]:
        bad = [{"where": one.where, "reason": one.reason} for one in report.bad]
        return {"read": dict(report.read), "left_out": dict(left_out), "bad": bad}

    folder, dataset, known = cached(
        cache or default_cache(),
        made_from=made_from,
        columns=columns,
        make=lambda: make(opened, report, left_out),
        facts=facts,
    )
    prepared = Prepared(dataset=dataset, folder=folder, **known)
    _check(prepared, max_bad)
    return prepared


def _check(prepared: Prepared, max_bad: int) -> None:
    if len(prepared.bad) > max_bad:  # prepared earlier, by someone who allowed more
        raise DataError(
            f"this data has {len(prepared.bad)} bad records, and max_bad={max_bad} allows no more; "
            f"the first is {prepared.bad[0]['where']}: {prepared.bad[0]['reason']}"
        )


def hash_tokenizer(tokens: Tokens) -> str:
    """Hash everything about a tokenizer that decides which ids a text gets."""
    backend = getattr(tokens.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        written = backend.to_str()
    else:
        vocabulary = sorted(tokens.tokenizer.get_vocab().items())
        written = f"{type(tokens.tokenizer).__name__} {vocabulary}"
    ids = f"{tokens.bos_id} {tokens.tokenizer.eos_token_id} {tokens.eos_ids}"
    return sha256(f"{written} {ids}".encode()).hexdigest()


def _hash_code() -> str:
    """Hash the code that turns files into samples, so that no change of it meets old data."""
    package = files("sac_rag")
    digest = sha256()
    folders = [package / "data", package / "data" / "forms"]
    sources = [one for folder in folders for one in folder.iterdir() if one.name.endswith(".py")]
    for source in sorted([*sources, package / "prompts.py", package / "tokens.py"], key=str):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()
