"""``sac-rag eval`` shows floor and ceiling beside every adapter, and resumes."""

from __future__ import annotations

import json

import pytest

from tests.tiny_classifier import write_classifier


@pytest.fixture
def questions(tmp_path):
    """Five questions in the flat form."""
    path = tmp_path / "questions.jsonl"
    lines = [
        {"id": str(n), "context": f"The mill has {n} wheels.", "question": "?", "answers": [str(n)]}
        for n in range(5)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_floor_and_ceiling_stand_beside_the_adapter(sac_rag_json, tiny, questions, tmp_path):
    words = ("eval", "--data", questions, *tiny, "--max-new-tokens", 4, "--out", tmp_path / "out")
    code, report = sac_rag_json(*words)
    assert code == 0
    assert set(report["methods"]) == {"full", "none", "sac-5x"}
    assert all(one["asked"] == 5 for one in report["methods"].values())
    assert report["methods"]["none"]["mean_counts"]["anchors"] == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    code, again = sac_rag_json(*words)
    assert again == report


def test_adapters_have_names(sac_rag, tiny_folders, questions):
    base, adapter = tiny_folders
    words = ("eval", "--data", questions, "--model", base, "--max-new-tokens", 2, "--limit", 2)
    result = sac_rag(*words, "--adapter", f"one={adapter}", "--adapter", f"two={adapter}")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == [
        "full",
        "none",
        "one",
        "two",
    ]
    result = sac_rag(*words, "--adapter", f"one={adapter}", "--adapter", f"one={adapter}")
    assert result.exit_code == 2
    assert "name them apart" in result.stderr


def test_broken_data_is_named_by_line(sac_rag, tiny, questions):
    questions.write_text(questions.read_text() + '{"context": 3}\n')
    result = sac_rag("eval", "--data", questions, *tiny)
    assert result.exit_code == 2
    assert "questions.jsonl" in result.stderr
    assert "6" in result.stderr


def test_the_report_is_written_where_json_says_and_the_table_is_printed(
    sac_rag, sac_rag_json, tiny, questions, tmp_path
):
    words = ("eval", "--data", questions, *tiny, "--methods", "full,sac,none")
    result = sac_rag(*words, "--json", tmp_path / "report.json")
    assert result.exit_code == 0
    assert "paper_em" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == sac_rag_json(*words)[1]
    result = sac_rag(*words, "--json", tmp_path / "no folder" / "report.json")
    assert result.exit_code == 1
    assert "no folder" in result.output


def test_every_ratio_of_one_folder_is_a_row(sac_rag_json, any_ratio_folders, questions, tmp_path):
    base, adapter = any_ratio_folders
    words = ("eval", "--data", questions, "--model", base, "--adapter", adapter)
    words += ("--max-new-tokens", 4, "--out", tmp_path / "out")
    code, report = sac_rag_json(*words, "--ratios", "5,15,51")
    assert code == 0
    assert list(report["methods"]) == ["full", "none", "sac-5x", "sac-15x", "sac-51x"]
    anchors = [one["mean_counts"]["anchors"] for one in report["methods"].values()][2:]
    assert anchors[0] > anchors[1] >= anchors[2]
    code, again = sac_rag_json(*words, "--ratios", "51,5,15")
    assert code == 0
    assert again["methods"] == report["methods"]
    code, named = sac_rag_json(*words[:5], "--adapter", f"mine={adapter}", "--ratios", "15,51")
    assert list(named["methods"]) == ["full", "none", "mine-15x", "mine-51x"]


def test_a_query_aware_adapter_is_measured_with_its_questions(
    sac_rag_json, query_aware_folders, tiny_folders, questions
):
    base, adapter = query_aware_folders
    words = ("eval", "--data", questions, "--model", base, "--max-new-tokens", 4)
    words += ("--adapter", tiny_folders[1], "--adapter", adapter)
    code, report = sac_rag_json(*words)
    assert code == 0
    assert list(report["methods"]) == ["full", "none", "sac-5x", "sac-5x-query-aware"]
    plain, aware = list(report["methods"].values())[2:]
    assert plain["mean_counts"] == aware["mean_counts"]


@pytest.mark.parametrize("words", ["5,x", "5,,15", "5,5", "0", "5;15"])
def test_ratios_that_are_none_are_refused(sac_rag, tiny, questions, words):
    result = sac_rag("eval", "--data", questions, *tiny, "--ratios", words)
    assert result.exit_code == 2
    assert "--ratios takes different whole numbers" in result.stderr


def test_a_ratio_that_the_adapter_lacks_is_refused(sac_rag, tiny, questions):
    result = sac_rag("eval", "--data", questions, *tiny, "--ratios", "5,15")
    assert result.exit_code == 2
    assert "asked for ratio 15" in " ".join(result.stderr.split())


def test_all_that_is_missing_is_refused_before_anything_is_asked(
    sac_rag, any_ratio_folders, tiny_folders, questions, tmp_path
):
    base, several = any_ratio_folders
    words = ("eval", "--data", questions, "--model", base, "--out", tmp_path / "out")
    words += ("--adapter", f"many={several}", "--adapter", f"one={tiny_folders[1]}")
    result = sac_rag(*words, "--methods", "sac,epl,icae", "--ratios", "5,15,7")
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert "asked for epl, icae, and the adapters given are sac" in told
    assert "asked for ratio 7 of many, which serves 5, 15, 51" in told
    assert "asked for ratio 15, 7 of one, which serves 5" in told
    assert not (tmp_path / "out").exists()


def test_a_base_without_an_adapter_serves_no_ratio(sac_rag, tiny_folders, questions):
    words = ("eval", "--data", questions, "--model", tiny_folders[0], "--ratios", "5")
    result = sac_rag(*words)
    assert result.exit_code == 2
    assert f"asked for ratio 5 of {tiny_folders[0]}, which serves 1" in result.stderr.replace(
        "\n", ""
    )


def test_hard_compression_stands_beside_the_adapter_at_its_ratio(
    sac_rag_json, tiny, questions, tmp_path
):
    model = write_classifier(tmp_path / "classifier")
    words = ("eval", "--data", questions, *tiny, "--max-new-tokens", 2, "--limit", 3)
    chosen = (*words, "--methods", "sac,llmlingua2", "--classifier", model)
    code, report = sac_rag_json(*chosen)
    assert code == 0
    assert list(report["methods"]) == ["full", "none", "sac-5x", "llmlingua2-5x"]
    counts = {name: one["mean_counts"] for name, one in report["methods"].items()}
    tokens = {name: one["prompt_tokens"] for name, one in counts.items()}
    assert counts["llmlingua2-5x"]["anchors"] == 0
    assert tokens["none"] < tokens["llmlingua2-5x"] < tokens["full"]
    code, report = sac_rag_json(
        *words, "--methods", "llmlingua2", "--classifier", model, "--ratios", "2,5"
    )
    assert list(report["methods"]) == ["full", "none", "llmlingua2-2x", "llmlingua2-5x"]
    assert (
        report["methods"]["llmlingua2-2x"]["mean_counts"]["prompt_tokens"]
        > report["methods"]["llmlingua2-5x"]["mean_counts"]["prompt_tokens"]
    )


def test_ratios_are_those_of_adapters_and_of_hard_compression(
    sac_rag_json, any_ratio_folders, tmp_path
):
    base, adapter = any_ratio_folders
    model = write_classifier(tmp_path / "classifier")
    line = {
        "id": "1",
        "context": "The mill has two wheels. " * 8,
        "question": "?",
        "answers": ["a"],
    }
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    words = ("eval", "--data", path, "--model", base, "--adapter", adapter)
    words += ("--max-new-tokens", 2, "--methods", "sac,llmlingua2", "--classifier", model)
    code, report = sac_rag_json(*words, "--ratios", "5,15")
    assert code == 0
    rows = {"sac-5x", "sac-15x", "llmlingua2-5x", "llmlingua2-15x"}
    assert set(report["methods"]) == {"full", "none", *rows}
    counts = {name: report["methods"][name]["mean_counts"] for name in rows}
    assert counts["sac-5x"]["anchors"] > counts["sac-15x"]["anchors"]
    hard = [counts[f"llmlingua2-{ratio}x"]["prompt_tokens"] for ratio in (5, 15)]
    assert hard[0] > hard[1]
    code, alone = sac_rag_json(*words[:-2], "--classifier", model, "--ratios", "5")
    assert {*alone["methods"]} == {"full", "none", "sac-5x", "llmlingua2-5x"}
    for name, row in alone["methods"].items():
        assert row["mean_counts"] == report["methods"][name]["mean_counts"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (("--methods", "lingua"), "no method is called 'lingua'"),
        (("--methods", "sac,epl"), "give an --adapter of each method"),
        (("--methods", "llmlingua2", "--ratios", "5,one"), "takes different whole numbers"),
        (("--methods", "llmlingua2", "--ratios", "1,5"), "takes --ratios above 1"),
        (("--methods", "sac,llmlingua2", "--ratios", "2"), "asked for ratio 2"),
        (("--methods", "full", "--ratios", "5"), "llmlingua2 in --methods"),
        (("--ratios", "5", "--classifier", "./none"), "add --methods llmlingua2"),
        (("--methods", "llmlingua2", "--classifier", "./none"), "no token classifier"),
        (("--adapter", "no-one/nothing"), "'no-one/nothing' cannot be loaded"),
    ],
)
def test_rows_that_cannot_be_are_refused(sac_rag, tiny, questions, given, match):
    result = sac_rag("eval", "--data", questions, *tiny, *given)
    assert result.exit_code == 2
    assert match in " ".join(result.stderr.split())
