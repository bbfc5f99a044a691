"""Commands on the tiny model: what they say is what the engine does."""

from __future__ import annotations

import json

import pytest
import torch

from sac_rag import SACEngine, __version__, open_store


def test_compress_stores_what_the_engine_would(sac_rag_json, tiny, tiny_folders, notes, tmp_path):
    code, told = sac_rag_json("compress", notes, "--store", tmp_path / "store", *tiny)
    assert code == 0
    assert told["total"]["documents"] == told["total"]["encoded"] == 3
    assert [path.rpartition("/")[2] for path in told["skipped"]] == ["picture.png"]
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        [town] = [row for row in told["documents"] if "town.md" in row["document"]]
        here = engine.compress((notes / "town.md").read_text())
        assert told["fingerprint"] == engine.fingerprint
    there = open_store(tmp_path / "store").get(town["key"])
    assert torch.equal(here.keys, there.keys)
    assert (town["anchors"], town["tokens"]) == (len(here), here.num_tokens)
    code, again = sac_rag_json("compress", notes, "--store", tmp_path / "store", *tiny)
    assert again["total"]["already_stored"] == 3


def test_nothing_is_encoded_before_all_inputs_are_known_to_be_good(sac_rag, tiny, notes, tmp_path):
    (notes / "z.jsonl").write_text('{"text": "fine"}\n{"text": ')
    result = sac_rag("compress", notes, "--store", tmp_path / "store", *tiny)
    assert result.exit_code == 2
    assert "z.jsonl:2 is not valid JSON" in result.stderr
    assert not (tmp_path / "store").exists()


def test_compress_reads_well_when_piped(sac_rag, tiny, notes, tmp_path):
    result = sac_rag("compress", notes, "--store", tmp_path / "store", *tiny)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "3 documents: " in result.stdout
    assert "skipped 1 file of other kinds: picture.png" in result.stderr


@pytest.mark.parametrize("full", [(), ("--full",)])
def test_ask_gives_the_answer_of_the_engine_streamed_or_not(
    sac_rag, sac_rag_json, shared_engine, tiny, notes, full
):
    words = ("ask", "How long is the Lune?", "--docs", notes / "town.md", notes / "deeper")
    more = (*tiny, *full, "--max-new-tokens", "7")
    texts = [(notes / "town.md").read_text(), (notes / "deeper" / "river.txt").read_text()]
    wanted = shared_engine.answer(words[1], texts, 7, compress=not full)
    streamed, whole = sac_rag(*words, *more), sac_rag(*words, *more, "--no-stream")
    assert streamed.stdout == whole.stdout == wanted.text + "\n"
    assert streamed.stderr.count("\n") == 1
    code, told = sac_rag_json(*words, *more)
    assert code == 0
    assert told["answer"] == wanted.text
    assert told["usage"]["anchors"] == wanted.usage.anchors
    assert told["usage"]["prompt_tokens"] == wanted.usage.prompt_tokens


def test_ask_within_a_budget_is_the_plan_of_the_engine(
    sac_rag, sac_rag_json, any_ratio_folders, notes
):
    base, adapter = any_ratio_folders
    any_ratio = ("--model", base, "--adapter", adapter, "--max-new-tokens", "5")
    texts = [(notes / "town.md").read_text(), (notes / "deeper" / "river.txt").read_text()]
    words = ("ask", "Who?", "--docs", notes / "town.md", notes / "deeper", *any_ratio)
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        wanted = engine.answer("Who?", engine.plan(texts, anchors=10), 5)
    code, told = sac_rag_json(*words, "--budget", "10")
    assert code == 0
    assert told["answer"] == wanted.text
    assert told["usage"]["anchors"] == wanted.usage.anchors <= 10
    code, told = sac_rag_json(*words, "--budget", "1")
    assert (code, told["error"]) == (2, "ImpossibleBudgetError")
    for other in (("--full",), ("--ratio", "15")):
        result = sac_rag(*words, "--budget", "10", *other)
        assert result.exit_code == 2
        assert f"got --budget 10 and {' '.join(other)}" in " ".join(result.stderr.split())


def test_ask_takes_anchors_from_the_store(sac_rag_json, tiny, notes, tmp_path):
    words = ("ask", "--docs", notes, "Who?", "--store", tmp_path / "store", *tiny)
    _, first = sac_rag_json(*words, "--max-new-tokens", "3")
    _, second = sac_rag_json(*words, "--max-new-tokens", "3")
    assert first["usage"]["anchors_encoded"] == second["usage"]["anchors_loaded"] > 0
    assert first["answer"] == second["answer"]


def test_what_the_engine_refuses_is_told_cleanly(sac_rag, sac_rag_json, tiny, notes, tmp_path):
    ask = ("ask", "Who?", "--docs", notes)
    code, told = sac_rag_json(*ask, *tiny, "--ratio", "15")
    assert (code, told["error"]) == (2, "AdapterMismatchError")
    (notes / "long.txt").write_text("a long town " * 400)
    code, told = sac_rag_json(*ask, *tiny)
    assert (code, told["error"]) == (2, "ContextOverflowError")
    code, told = sac_rag_json(*ask, "--model", tmp_path / "nowhere")
    assert (code, told["error"]) == (2, "ModelNotFoundError")
    assert "nowhere" in told["message"]
    code, told = sac_rag_json(*ask, *tiny, "--device", "abacus")
    assert (code, told["error"]) == (2, "ConfigError")
    code, told = sac_rag_json(*ask, *tiny, "--dtype", "float7")
    assert (code, told["error"]) == (2, "ConfigError")


def test_info_tells_what_would_run(sac_rag, sac_rag_json, shared_engine, tiny):
    code, told = sac_rag_json("info", *tiny)
    assert code == 0
    assert told["version"] == __version__
    assert told["fingerprint"] == shared_engine.fingerprint
    assert (told["ratio"], told["window"]) == (shared_engine.ratio, shared_engine.window)
    cache = shared_engine.compress("one")
    assert told["bytes_per_anchor"] * len(cache) == cache.nbytes
    shown = sac_rag("info", *tiny).stdout
    assert shared_engine.fingerprint in shown
    assert max(map(len, shown.splitlines())) <= 80


def released(folder, *, width=32, layers=3, slots=102):
    """A checkpoint as the authors' code writes it, for the tiny model."""
    torch.manual_seed(0)
    tensors = {"role_tokens": torch.randn(slots, width), "special_tokens": torch.randn(2, width)}
    for layer in range(layers):
        for name, out in (("q", 32), ("v", 16)):
            start = f"model.model.layers.{layer}.self_attn.{name}_proj.lora_"
            tensors[f"{start}A"] = torch.randn(width, 4)
            tensors[f"{start}B"] = torch.randn(4, out)
    torch.save(tensors, folder / "adapter.pt")
    return folder / "adapter.pt"


def test_an_imported_checkpoint_answers(sac_rag, sac_rag_json, tiny_folders, notes, tmp_path):
    base, _ = tiny_folders
    words = ("import-checkpoint", released(tmp_path), "--base", base, "--out", tmp_path / "sac")
    code, told = sac_rag_json(*words, "--ratio", "15")
    assert (code, told["error"]) == (2, "AdapterMismatchError")
    assert "probably 5" in told["message"]
    code, told = sac_rag_json(*words, "--ratio", "5")
    assert code == 0
    assert told["config"]["compress"]["ratio"] == 5
    asked = ("ask", "Who?", "--docs", notes, "--model", base, "--adapter", tmp_path / "sac")
    assert sac_rag(*asked, "--max-new-tokens", "2").exit_code == 0
    code, told = sac_rag_json("import-checkpoint", base / "config.json", *words[2:], "--ratio", "5")
    assert (code, told["error"]) == (2, "CheckpointFormatError")


def test_demo_measures_every_question_on_three_roads(sac_rag, sac_rag_json, tiny, notes):
    questions = [
        {"question": "When was Bellford founded?", "answer": "1204", "document": "town.md"},
        {"question": "How long is it?", "answer": "80 miles", "document": "deeper/river.txt"},
        {"question": "What is high?", "answer": "Mount Ost"},
    ]
    (notes / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    words = ("demo", "--docs", notes, *tiny, "--max-new-tokens", "4")
    code, told = sac_rag_json(*words)
    assert code == 0
    assert len(told["documents"]) == 3
    assert [one["question"] for one in told["questions"]] == [q["question"] for q in questions]
    for one in told["questions"]:
        cold, warm, full = (run["usage"] for run in one["runs"])
        assert cold["anchors_encoded"] == warm["anchors_loaded"] == cold["anchors"] > 0
        assert warm["anchors_encoded"] == full["anchors"] == 0
        assert one["runs"][0]["answer"] == one["runs"][1]["answer"]
        assert warm["cache_bytes"] < full["cache_bytes"]
    assert told["summary"]["bytes_ratio"] > 1
    shown = sac_rag(*words, "-n", "2")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "2 of 2. What is high? (3 documents)" in shown.stdout


def test_demo_refuses_questions_about_nothing(sac_rag_json, notes):
    code, told = sac_rag_json("demo", "--docs", notes)
    assert (code, told["error"]) == (2, "InputFileError")
    assert "questions.jsonl" in told["message"]
    asked = {"question": "Who?", "answer": "Nobody", "document": "nowhere.md"}
    (notes / "questions.jsonl").write_text(json.dumps(asked))
    code, told = sac_rag_json("demo", "--docs", notes)
    assert (code, told["error"]) == (2, "InputFileError")
    assert "nowhere.md" in told["message"]


def test_a_codec_is_used_shown_and_told(sac_rag, sac_rag_json, tiny, notes, tmp_path):
    where = tmp_path / "store"
    words = ("compress", notes, "--store", where, *tiny)
    _, exact = sac_rag_json(*words)
    assert {row["codec"] for row in exact["documents"]} == {"exact"}
    # what is exact is written anew, not encoded again
    _, small = sac_rag_json(*words, "--codec", "int4")
    assert {row["codec"] for row in small["documents"]} == {"int4"}
    assert small["total"]["encoded"] == 0
    assert small["total"]["stored_bytes"] < exact["total"]["stored_bytes"]
    _, listed = sac_rag_json("store", "ls", where)
    assert {entry["codec"] for entry in listed["entries"]} == {"int4"}
    assert "int4" in sac_rag("store", "ls", where).stdout
    # without a codec stored anchors are taken as they are, and that is said
    ask = ("ask", "Who?", "--docs", notes, "--store", where, *tiny, "--max-new-tokens", "2")
    told = sac_rag(*ask)
    assert "(stored)" in told.stderr
    assert "3 documents from anchors stored by a lossy codec" in told.stderr
    # with one they must be as good
    finer = sac_rag(*ask, "--codec", "int8")
    assert "(encoded)" in finer.stderr
    assert "lossy" not in finer.stderr
    code, refused = sac_rag_json(*words, "--codec", "int5")
    assert (code, refused["error"]) == (2, "ConfigError")
    assert "int8, int4, pca:FILE" in refused["message"]
