"""Answers that hold a reference are counted as whole words, whatever stands around them."""

from __future__ import annotations

import json

import contains


def test_a_reference_is_found_in_a_sentence_and_not_in_a_word():
    assert contains.holds("It was The Harbour, in 1847.", ["harbour"])
    assert not contains.holds("It was in harbours.", ["harbour"])
    assert not contains.holds("anything", ["the", "!"])  # nothing is left of these


def test_yes_and_no_are_left_out(tmp_path):
    rows = [
        {"run": {}},
        {"prediction": "no idea", "answers": ["no"]},
        {"prediction": "Ada Brook kept them.", "answers": ["Ada Brook"]},
        {"prediction": "bees", "answers": ["wasps", "hornets"]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "sac.jsonl").write_text(lines, encoding="utf-8")
    assert contains.measure(tmp_path) == {"sac": {"asked": 2, "holds_reference": 0.5}}
