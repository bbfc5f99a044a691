"""Reading documents: all of them or an error that names the place."""

from __future__ import annotations

import gzip
import json
import lzma

import pytest

from sac_rag.cli.inputs import find_files, read_documents
from sac_rag.errors import InputFileError, InvalidTextError


def read(*paths):
    return list(read_documents(find_files([str(path) for path in paths]).files))


def test_a_folder_gives_its_documents_and_names_what_it_skips(notes):
    found = find_files([str(notes)])
    documents = list(read_documents(found.files))
    assert [path.name for path in found.skipped] == ["picture.png"]
    assert {one.text for one in documents} == {
        "# Bellford\n\nBellford was founded in 1204.",
        "The Lune is 80 miles long.",
        "Mount Ost is 900 feet high.",
    }
    assert [one.mapping.get("title") for one in documents if "Ost" in one.text] == ["Hill"]


def test_a_file_named_twice_is_read_once(notes):
    assert len(read(notes, notes / "town.md", notes)) == 3


@pytest.mark.parametrize("opener", [open, gzip.open, lzma.open])
def test_records_are_the_same_however_they_are_packed(tmp_path, opener):
    suffix = {open: "", gzip.open: ".gz", lzma.open: ".xz"}[opener]
    path = tmp_path / f"a.jsonl{suffix}"
    records = [
        {"text": "one"},
        {"context": "two", "question": "?"},
        {"documents": ["three", {"text": "four", "title": "IV"}]},
    ]
    with opener(path, "wb") as file:
        file.write("\n".join(map(json.dumps, records)).encode())
    documents = read(path)
    assert [one.text for one in documents] == ["one", "two", "three", "four"]
    assert [one.source.rpartition("jsonl" + suffix)[2] for one in documents] == [
        ":1",
        ":2",
        ":3 document 1",
        ":3 document 2",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffTown".encode())
    assert [one.text for one in read(tmp_path)] == ["Town"]


BAD_FILES = {
    "empty.txt": (b"", InputFileError, "holds no text"),
    "blank.md": (b" \n\t ", InputFileError, "holds no text"),
    "latin.txt": (b"line\ncaf\xe9 au lait", InvalidTextError, "line 2 holds the byte 0xe9"),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "\xff"}', InvalidTextError, "line 2"),
    "cut.jsonl": (b'{"text": "a"}\n{"text": "b"', InputFileError, "cut.jsonl:2 is not valid JSON"),
    "list.jsonl": (b"[1]", InputFileError, "found a list"),
    "keys.jsonl": (b'{"body": "a"}', InputFileError, "found the keys ['body']"),
    "both.jsonl": (b'{"text": "a", "context": "b"}', InputFileError, "['context', 'text']"),
    "number.jsonl": (b'{"text": 3}', InputFileError, "found a int"),
    "none.jsonl": (b'{"documents": []}', InputFileError, "should be a list"),
    "inner.jsonl": (b'{"documents": ["a", ""]}', InputFileError, ":1 document 2 is empty"),
    "nothing.jsonl": (b"\n\n", InputFileError, "is empty"),
    "surrogate.jsonl": (rb'{"text": "a\ud800"}', InvalidTextError, "lone surrogate"),
    "torn.jsonl.gz": (gzip.compress(b'{"text": "a"}' * 99)[:-9], InputFileError, "cannot be read"),
    "fake.jsonl.xz": (b"plain text", InputFileError, "cannot be read"),
    "table.csv": (b"a,b", InputFileError, "of no kind that can be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_the_way_out(tmp_path, name):
    content, kind, message = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        read(path)
    assert message in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("path", ["", "  ", "nowhere.txt", "nowhere"])
def test_a_missing_path_is_an_error(path):
    with pytest.raises(InputFileError, match=r"empty|no file or folder"):
        find_files([path])


def test_a_folder_without_documents_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / ".hidden.txt").write_text("x")
    with pytest.raises(InputFileError, match=r"holds no .*\(1 others\)"):
        find_files([str(tmp_path)])
