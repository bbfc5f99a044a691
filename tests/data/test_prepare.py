"""Prepared data is made once, is what it was made from, and is whole whoever dies or races."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from hashlib import sha256

import datasets
import pytest

from sac_rag.data import PretrainSettings, QASettings, prepare_pretraining, prepare_qa
from sac_rag.data.cache import _make, cached
from sac_rag.errors import DataError, StoreWriteError
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer

RECORD = {"context": "It rains.", "question": "Dry?", "answers": ["no"]}


@pytest.fixture(scope="module")
def tokens():
    return Tokens(byte_tokenizer())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({**RECORD, "id": f"q{n}"}) + "\n" for n in range(5)))
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def _folders(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_the_second_time_is_read_from_the_disk(file, tokens, cache, caplog):
    with caplog.at_level(logging.INFO, logger="sac_rag.data"):
        first = prepare_qa(file, tokens=tokens, cache=cache)
        again = prepare_qa(file, tokens=tokens, cache=cache)
    assert caplog.text.count("prepared 5 samples") == 1
    assert first.dataset[:] == again.dataset[:]
    assert first.read == again.read == {"set": 5}
    assert datasets.load_from_disk(str(first.folder / "rows"))[:] == first.dataset[:]


def test_whatever_it_is_made_from_is_part_of_the_key(file, tokens, cache):
    def folder(**changes):
        given = {"tokens": tokens, "cache": cache, **changes}
        return prepare_qa(given.pop("sources", file), **given).folder

    first = folder()
    other_tokens = Tokens(byte_tokenizer())
    other_tokens.tokenizer.add_tokens(["rains"])
    others = [folder(settings=QASettings(limit=2)), folder(tokens=other_tokens)]
    others.append(folder(sources="synthetic://qa?records=5"))
    stat = file.stat()
    file.write_text(file.read_text().replace("rains", "hails"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as old and as long as before
    others.append(folder())
    assert len({first, *others}) == 5


def test_pairs_are_prepared_from_generated_texts(tokens, cache):
    settings = PretrainSettings(min_tokens=50, max_tokens=600)
    source = "synthetic://text?records=20&facts=8"
    prepared = prepare_pretraining(source, tokens=tokens, settings=settings, cache=cache)
    assert len(prepared.dataset) + sum(prepared.left_out.values()) == 20
    assert set(prepared.dataset.column_names) == {"id", "context_ids", "target_ids"}


@pytest.mark.parametrize("harm", ["cut", "facts"])
def test_damaged_data_is_made_again(file, tokens, cache, harm):
    prepared = prepare_qa(file, tokens=tokens, cache=cache)
    wanted = prepared.dataset[:]
    if harm == "cut":
        (rows,) = (prepared.folder / "rows").glob("*.arrow")
        rows.write_bytes(rows.read_bytes()[:200])
    else:
        (prepared.folder / "prepared.json").write_text("{")
    assert prepare_qa(file, tokens=tokens, cache=cache).dataset[:] == wanted


def test_a_dead_writers_draft_is_cleared(file, tokens, cache):
    folder = prepare_qa(file, tokens=tokens, cache=cache).folder
    (folder / "prepared.json").unlink()
    (cache / f".{folder.name}-1-dead").mkdir()
    prepare_qa(file, tokens=tokens, cache=cache)
    assert _folders(cache) == [folder.name]


def test_two_at_once_give_one_result(file, tokens, cache):
    made = []

    def prepare():
        made.append(prepare_qa(file, tokens=tokens, cache=cache).dataset[:])

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1]
    assert len(_folders(cache)) == 1


RACER = """
import sys, time
from pathlib import Path
from sac_rag.data.cache import cached

def make():
    for number in range(20):
        time.sleep(0.02)
        yield {"id": str(number)}

folder, dataset, facts = cached(
    Path(sys.argv[1]), made_from={}, columns={"id": "string"}, make=make, facts=dict
)
print(folder, len(dataset), dataset["id"][19])
"""


def test_two_processes_at_once_give_one_result(cache):
    command = [sys.executable, "-c", RACER, str(cache)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {racer.communicate()[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(said) == 1
    assert len(_folders(cache)) == 1


def test_a_faster_process_without_the_lock_wins(cache):
    """As on a file system whose locks do nothing: the rename alone must keep data whole."""
    made_from, columns = {"n": 1}, {"id": "string"}
    name = sha256(json.dumps(made_from).encode()).hexdigest()[:32]

    def faster():
        yield {"id": "theirs"}

    def slower():
        yield {"id": "ours"}
        _make(cache / name, made_from, columns, faster, dict)

    folder, dataset, _ = cached(
        cache, made_from=made_from, columns=columns, make=slower, facts=dict
    )
    assert folder.name == name
    assert dataset["id"][:] == ["theirs"]
    assert _folders(cache) == [name]


def test_bad_records_allowed_once_are_refused_later(file, tokens, cache):
    with file.open("a") as lines:
        lines.write("{}\n")
    allowed = prepare_qa(file, tokens=tokens, cache=cache, max_bad=1)
    assert [one["where"] for one in allowed.bad] == [f"{file}:6"]
    with pytest.raises(DataError, match="1 bad records, and max_bad=0"):
        prepare_qa(file, tokens=tokens, cache=cache)


def test_what_fails_leaves_nothing_behind(file, tokens, cache):
    with pytest.raises(DataError, match="no record is left"):
        prepare_qa(file, tokens=tokens, cache=cache, settings=QASettings(max_context_tokens=1))
    with file.open("a") as lines:
        lines.write("{}\n")
    with pytest.raises(DataError, match=r"set\.jsonl:6"):
        prepare_qa(file, tokens=tokens, cache=cache)
    assert _folders(cache) == []


def test_a_cache_that_cannot_be_written_is_told(file, tokens, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreWriteError, match="choose another cache folder"):
        prepare_qa(file, tokens=tokens, cache=tmp_path / "taken" / "cache")
