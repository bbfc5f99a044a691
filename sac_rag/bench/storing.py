"""The store: bytes per token, load speed beside a raw read, operations of many readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from sac_rag.bench.clock import Contender, race, wall
from sac_rag.bench.memory import drop_from_cache
from sac_rag.bench.processes import gets_per_second
from sac_rag.bench.results import Ratio, Row, Section, row, versus
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.engine import SACEngine
from sac_rag.engine.requests import Document

LOAD, RAW = "load", "raw read"
LOAD_TARGET = ">= 0.7"


def measure_storing(subject: Subject, settings: Settings) -> Section:
    """Store the documents of the longest context in a folder, and use it.

    ``load`` is what the engine does: read, check every byte against its checksum, make tensors.
    ``raw read`` reads the same files into memory and looks at nothing.
    """
    rows: list[Row] = []
    ratios: list[Ratio] = []
    with _stored(subject, settings) as (engine, keys, files, tokens):
        nbytes = sum(file.stat().st_size for file in files)
        rows.append(
            Row(
                contender="anchors on disk",
                at={"context": tokens},
                figures={
                    "bytes_per_source_token": nbytes / tokens,
                    "full_kv_bytes_per_token": subject.token_bytes,
                    "times_smaller_than_full_kv": subject.token_bytes * tokens / nbytes,
                },
            )
        )
        dropped = []
        for state in ("cached", "cold"):

            def before(cold: bool = state == "cold") -> None:
                if cold:
                    dropped.append(drop_from_cache(files))

            contenders = {
                f"{LOAD}, {state}": Contender(
                    run=lambda: [engine.store.get(key) for key in keys], before=before
                ),
                f"{RAW}, {state}": Contender(
                    run=lambda: [file.read_bytes() for file in files], before=before
                ),
            }
            laps = race(contenders, settings.pace, sync=subject.sync)
            at = {"bytes": nbytes}
            rows += [
                row(name, done, at=at, figures={"gb_per_s": nbytes / wall(done).median / 1e9})
                for name, done in laps.items()
            ]
            load, raw = contenders
            name = f"load speed / raw read speed, {state}"
            ratios.append(versus(laps, raw, load, at=at, target=LOAD_TARGET, name=name))
        rows += _rates(engine, keys, settings)
    cold = "was out of memory before" if set(dropped) == {True} else "could not be forced out for"
    return Section(
        name="store",
        title="The store",
        rows=rows,
        ratios=ratios,
        notes=[
            f"cold: every page {cold} each repetition",
            "threads get and put whole entries, tensors made; processes get checked bytes",
        ],
    )


@contextmanager
def _stored(
    subject: Subject, settings: Settings
) -> Iterator[tuple[SACEngine, list[str], list[Path], int]]:
    texts = subject.texts(max(settings.contexts), settings.document_tokens, seed=settings.seed)
    documents = [Document(text=text) for text in texts]
    with (
        TemporaryDirectory(prefix="sac-rag-bench-") as place,
        subject.engine(Path(place)) as engine,
    ):
        made = engine.compress_each(documents)
        files = [path for path in sorted(Path(place).rglob("*anchors*")) if path.is_file()]
        tokens = sum(one.cache.num_tokens for one in made)
        yield engine, [engine.key_of(document) for document in documents], files, tokens


def _rates(engine: SACEngine, keys: list[str], settings: Settings) -> list[Row]:
    """Do as many gets, then puts, from as many threads, then gets from processes."""
    store = engine.store
    cache = store.get(keys[0])
    assert cache is not None
    fresh = count()

    def get(number: int) -> object:
        return store.get(keys[number % len(keys)])

    def put(number: int) -> object:
        return store.put(_key(next(fresh)), cache)

    rows = []
    for readers in settings.readers:
        for name, do in (("gets", get), ("puts", put)):
            work = _shared_out(do, readers, settings.operations)
            laps = race({name: Contender(run=work)}, settings.pace)[name]
            rate = settings.operations / wall(laps).median
            at = {"threads": readers}
            rows.append(row(f"{name}, threads", laps, at=at, figures={"per_s": rate}))
    for number in range(next(fresh)):
        store.delete(_key(number))
    folder = store.backend.path  # type: ignore[attr-defined]
    for readers in settings.processes:
        rate = gets_per_second(folder, keys, processes=readers, operations=settings.operations)
        at = {"processes": readers}
        rows.append(Row(contender="gets, processes", at=at, repeats=1, figures={"per_s": rate}))
    return rows


def _key(number: int) -> str:
    return f"{number:032x}"


def _shared_out(do: Callable[[int], object], readers: int, operations: int) -> Callable[[], object]:
    def work() -> object:
        with ThreadPoolExecutor(readers) as pool:
            return list(pool.map(do, range(operations)))

    return work
