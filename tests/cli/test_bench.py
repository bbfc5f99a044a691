"""``sac-rag bench`` writes what it measured, and ``sac-rag plan`` reads it."""

from __future__ import annotations

import json

import pytest

SMALL = ("--contexts", "60,120", "--new-tokens", 2, "--repeats", 1, "--quick", "--device", "cpu")
SPEEDS = {
    "--encode-tokens-per-s": 1000,
    "--prefill-tokens-per-s": 500,
    "--load-bytes-per-s": 1e9,
    "--question-s": 0.1,
}


@pytest.fixture
def shape(tiny_folders):
    base, adapter = tiny_folders
    return ("--shape", base, "--adapter", adapter)


def test_json_markdown_and_figures(sac_rag, sac_rag_json, shape, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "bench.json"
    words = ("bench", "encoder", "first-token", "store", *shape, *SMALL, "--readers", 1)
    words += ("--processes", 1, "--json", out, "--markdown", tmp_path / "bench.md")
    result = sac_rag(*words, "--figures", tmp_path / "figures")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    report = json.loads(out.read_text())
    assert [section["name"] for section in report["sections"]] == [
        "encoder",
        "first-token",
        "store",
    ]
    assert report["quick"] is True
    assert "## Encoding documents" in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "figures" / "encoder.png").is_file()

    code, planned = sac_rag_json("plan", "--tokens", "1M", "--bench", out, "--retrievals", 3)
    assert code == 0
    assert planned["corpus"]["tokens"] == 1_000_000
    assert planned["corpus"]["retrievals"] == 3
    assert planned["plan"]["anchors"] == 200_000
    shown = sac_rag("plan", "--tokens", "1M", "--bench", out)
    assert shown.exit_code == 0
    assert "pays over text" in shown.stdout
    other = sac_rag("plan", "--tokens", "1M", "--bench", out, "--model", "embedded")
    assert other.exit_code == 2
    assert "not scaled" in other.stderr


def test_equal_bytes_of_given_questions_to_stdout(sac_rag, shape, tmp_path):
    questions = tmp_path / "questions.jsonl"
    line = {"context": "The mill has 4 wheels. " * 3, "question": "?", "answers": ["4"]}
    questions.write_text(json.dumps(line) + "\n")
    words = ("bench", "equal-bytes", *shape, *SMALL, "--data", questions, "--json", "-")
    result = sac_rag(*words, "--rival", f"twin={shape[3]}")
    assert result.exit_code == 0, result.stderr
    [section] = json.loads(result.stdout)["sections"]
    rows = {row["contender"]: row["figures"] for row in section["rows"]}
    alike = {name for name in rows["twin, 5x"] if name != "keeping_s"}
    assert {name: rows["twin, 5x"][name] for name in alike} == {
        name: rows["SAC, ours, 5x"][name] for name in alike
    }


def test_cartridges_study_but_not_the_exam(sac_rag, shape, tmp_path):
    exam, study = tmp_path / "exam.jsonl", tmp_path / "study.jsonl"
    line = {"context": "The mill has 4 wheels. " * 3, "question": "?", "answers": ["4"]}
    exam.write_text(json.dumps(line) + "\n")
    words = ("bench", "equal-bytes", *shape, *SMALL, "--data", exam, "--json", "-")
    words += ("--cartridge-steps", 1, "--study", study)
    study.write_text(json.dumps({**line, "question": "How many wheels?"}) + "\n")
    result = sac_rag(*words)
    assert result.exit_code == 0, result.stderr
    [section] = json.loads(result.stdout)["sections"]
    rows = {row["contender"]: row["figures"] for row in section["rows"]}
    trained = rows["peft CARTRIDGE, 1 steps on text and questions"]
    assert trained["kept_bytes"] == rows["SAC, ours, 5x"]["kept_bytes"]
    assert trained["keeping_s"] > 0
    for wrong, said in (
        (line, "may not see the exam"),
        ({**line, "question": "When?", "context": "A mill."}, "same to the letter"),
    ):
        study.write_text(json.dumps(wrong) + "\n")
        result = sac_rag(*words)
        assert result.exit_code == 2
        assert said in json.loads(result.stdout)["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "speed"], "choose from encoder"),
        (["bench", "--contexts", "8k,x"], "whole numbers"),
        (["bench", "--rival", "EPL"], "NAME=FOLDER"),
        (["bench", "--study", "more.jsonl"], "--cartridge-steps"),
        (["bench", "--layers", "3"], "random shapes only"),
        (["plan"], "tokens"),
        (["plan", "--tokens", "many", "--model", "embedded"], "needs"),
        (["plan", "--tokens", "1M"], "no model"),
        (["plan", "--tokens", "1M", "--bench", "nowhere.json"], "there is no bench"),
    ],
)
def test_wrong_words_are_one_clean_line(sac_rag, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = sac_rag(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.startswith("error: ")


def test_a_plan_without_a_bench(sac_rag_json):
    speeds = [word for pair in SPEEDS.items() for word in pair]
    words = ("plan", "--tokens", "10M", "--model", "embedded", *speeds)
    code, planned = sac_rag_json(*words, "--ratio", 15, "--value-bits", 4)
    assert code == 0
    # 2 kinds, 4 layers, 2 heads of 64; bfloat16 in full, 4 bits as anchors
    assert planned["corpus"]["token_bytes"] == 2048
    assert planned["corpus"]["anchor_bytes"] == 512
    assert planned["plan"]["times_smaller"] == pytest.approx(60, rel=1e-4)
    assert planned["measured"] is None
    code, told = sac_rag_json("plan", "--tokens", "many", "--model", "embedded", *speeds)
    assert code == 2
    assert "10M" in told["message"]
