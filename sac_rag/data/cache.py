"""A folder of data that is whole or not there, whoever is killed and whoever else prepares."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sac_rag.errors import DataError, MissingDependencyError, StoreWriteError

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

ROWS, FACTS = "rows", "prepared.json"
_BATCH_ROWS = 512


def cached(
    cache: Path,
    *,
    made_from: dict[str, Any],
    columns: dict[str, str],
    make: Callable[[], Iterator[dict[str, Any]]],
    facts: Callable[[], dict[str, Any]],
) -> tuple[Path, Dataset, dict[str, Any]]:
    """Give the data that was made from these things, or make it.

    Args:
        cache: Folder of all prepared data; made if it is not there.
        made_from: Plain JSON values that name everything the data depends on.
        columns: Name and kind of each column: ``string``, ``ids`` or ``lists of ids``.
        make: Gives the rows.
        facts: Called when all rows are made; kept beside them.

    Returns:
        The data's folder, the data, and its facts.

    Raises:
        DataError: If ``make`` gives no row.
        StoreWriteError: If the cache cannot be written.
        MissingDependencyError: If ``datasets`` is not installed.
    """
    try:
        from filelock import FileLock
    except ImportError as error:
        raise _missing() from error
    written = json.dumps(made_from, sort_keys=True)
    key = sha256(written.encode()).hexdigest()[:32]
    folder = cache / key
    found = _load(folder)
    if found is not None:
        return folder, *found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The lock saves a second process the work; that data is whole rests on the rename alone.
        with FileLock(cache / f"{key}.lock"):
            found = _load(folder)
            if found is None:
                _clear(folder)
                _make(folder, made_from, columns, make, facts)
                found = _load(folder)
    except OSError as error:
        raise StoreWriteError(
            f"cannot write prepared data to {folder}: {error.strerror or error}; free space, "
            "correct the folder's permissions, or choose another cache folder"
        ) from error
    if found is None:
        raise StoreWriteError(f"what was just written to {folder} cannot be read; check the disk")
    return folder, *found


def _load(folder: Path) -> tuple[Dataset, dict[str, Any]] | None:
    """Give the data of a folder; None if there is none that is whole."""
    if not folder.is_dir():
        return None
    datasets, pyarrow = _libraries()
    try:
        kept = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        dataset = datasets.load_from_disk(str(folder / ROWS))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        logger.warning("prepared data in %s is damaged and is made again: %s", folder, error)
        return None
    if len(dataset) != kept["num_rows"]:
        logger.warning("prepared data in %s has lost rows and is made again", folder)
        return None
    return dataset, kept["facts"]


def _make(
    folder: Path,
    made_from: dict[str, Any],
    columns: dict[str, str],
    make: Callable[[], Iterator[dict[str, Any]]],
    facts: Callable[[], dict[str, Any]],
) -> None:
    datasets, _ = _libraries()
    draft = folder.parent / f".{folder.name}-{os.getpid()}-{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        stream = draft / "stream.arrow"
        num_rows = _write_stream(stream, columns, make())
        if not num_rows:
            raise DataError(
                f"no record is left to train on: {facts()['left_out']} were left out; give other "
                "data, or wider bounds"
            )
        datasets.Dataset.from_file(str(stream)).save_to_disk(str(draft / ROWS))
        stream.unlink()
        kept = {"num_rows": num_rows, "facts": facts(), "made_from": made_from}
        (draft / FACTS).write_text(json.dumps(kept, indent=2), encoding="utf-8")
        for path in draft.rglob("*"):
            if path.is_file():
                _sync(path)
        with suppress(FileExistsError):  # another process was faster, and its data is the same
            _rename(draft, folder)
        logger.info("prepared %d samples in %s", num_rows, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_stream(path: Path, columns: dict[str, str], rows: Iterator[dict[str, Any]]) -> int:
    """Write rows as they come, so that a corpus need not fit in memory; return how many."""
    _, pyarrow = _libraries()
    ids = pyarrow.list_(pyarrow.int32())
    kinds = {"string": pyarrow.string(), "ids": ids, "lists of ids": pyarrow.list_(ids)}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    num_rows = 0
    with path.open("wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
        while batch := list(islice(rows, _BATCH_ROWS)):
            stream.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
            num_rows += len(batch)
    return num_rows


def _rename(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError as error:
        if folder.is_dir():
            raise FileExistsError(str(folder)) from error
        raise


def _clear(folder: Path) -> None:
    """Remove what is damaged, and drafts of processes that died: we hold the lock."""
    for path in [folder, *folder.parent.glob(f".{folder.name}-*")]:
        if path.is_dir():
            shutil.rmtree(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _libraries() -> tuple[Any, Any]:
    try:
        import datasets
        import pyarrow
    except ImportError as error:
        raise _missing() from error
    return datasets, pyarrow


def _missing() -> MissingDependencyError:
    return MissingDependencyError(
        "preparing data needs the library datasets; install sac-rag[train]"
    )
