"""The training folder on the path; a data folder of generated texts, laid out as the real one."""

from __future__ import annotations

import json
import lzma
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "train" / "micro"))

GIVEN = "Anna Bert Clara Doris Edgar Frida Georg Hanna Ivan Judit".split()  # noqa: SIM905
LAST = "Ashford Brandt Colby Dorn Ekman Falk Garner Holt Ibsen Jansen".split()  # noqa: SIM905
TOWNS = "Lowick Marsham Norby Oakton Penrith Quarry Rothley Selby Tarland Upton".split()  # noqa: SIM905
MADE = "bridge mill tower school chapel market harbour library station theatre".split()  # noqa: SIM905


def _facts(draw: random.Random) -> tuple[str, list[tuple[str, str]]]:
    who, town = f"{draw.choice(GIVEN)} {draw.choice(LAST)}", draw.choice(TOWNS)
    thing, year = draw.choice(MADE), str(draw.randint(1500, 1999))
    other, count = draw.choice(TOWNS), str(draw.randint(11, 99))
    text = (
        f"The old {thing} of {town} was built by {who} in {year} after a long winter. "
        f"It was paid for by {count} families who had come from {other} with all their goods. "
        f"Visitors to {town} still ask about {who} and about the stones of the {thing}. "
        f"A second {thing} was begun in the north of {town} but nobody has ever finished it."
    )
    return text, [
        (f"Who built the {thing} of {town}?", who),
        (f"When was the {thing} of {town} built?", year),
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        file.write(text)


def _questions(draw: random.Random, count: int, source: str) -> str:
    lines = []
    for index in range(count):
        context, asked = _facts(draw)
        for number, (question, answer) in enumerate(asked):
            record = {"id": f"{source}-{index}-{number}", "context": context, "source": source}
            lines.append(json.dumps(record | {"question": question, "answers": [answer]}) + "\n")
    return "".join(lines)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A data folder: two texts, one for perplexity, three question sets."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(1)
    for name, count, length in (
        ("enwiki_train", 260, 3),
        ("enwiki2018_new", 40, 9),
        ("wikitext2_valid", 6, 3),
    ):
        documents = []
        for index in range(count):
            paragraphs = [_facts(draw)[0] for _ in range(length)]
            documents.append("\n".join([f"Town {index}", *paragraphs]))
        _write(folder / "text" / f"{name}.txt.xz", "\n<|endoftext|>\n".join(documents))
    for name, split, count in (
        ("squad11_part", "train", 60),
        ("squad11_half", "dev", 6),
        ("policyqa", "dev", 4),
    ):
        source = name.split("_")[0]
        text = _questions(draw, count, source)
        _write(folder / "qa" / f"{name}.{split}.jsonl.xz", text)
    return folder
