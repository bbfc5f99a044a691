"""The CPU table at toy size: data, base, learning rate, rows, gone on with, and written."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace

import embedded_beyond
import embedded_plan
import embedded_report
import embedded_score
import embedded_table
import jobs
import pytest
from curriculum import Coder
from transformers import AutoTokenizer

from sac_rag.config import CompressConfig
from sac_rag.train.__main__ import main as train_main
from sac_rag.train.recipe import Objectives
from sac_rag.train.recipe_file import read_recipe

NANO = embedded_plan.TRAIN.parent / "sac_rag/embedded/nano"
TOY = ["batch=2", "micro_batch=2", "save_every=1", "log_every=1", "data.held_out=2"]
TOY += ["lora.rank=2", "lora.alpha=4", "optim.warmup_steps=1", "steps=1"]


def _args(work, *words: str):
    asked = ["run", "--work", work, "--base", NANO, *words, "--rates", 1e-3, 1e-4]
    asked += ["--rate-steps", 1, "--texts", "texts=8", "questions=8", "exam=4"]
    asked += ["--prose", "steps=1", "batch=2", "--pretrain", *TOY, "--finetune", *TOY]
    return embedded_table.arguments().parse_args(list(map(str, asked)))


def _here(command, until, environment=None):
    """Run a command's own entry point in this process: the same work without the start-up."""
    words = list(command)[1:]
    if words[0] == "-m":
        return train_main(words[2:]), 0.0
    if words[0].endswith("embedded_score.py"):
        embedded_score.main(embedded_score.arguments().parse_args(words[1:]))
        return 0, 0.0
    before, sys.argv = sys.argv, words
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv = before
    return 0, 0.0


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A table of three rows, broken off before anything was done, then finished."""
    work = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "process", _here)
        rows = ("--rows", "base", "sac_5x", "icae_15x", "--seeds", "1", "2")
        assert embedded_table.run(_args(work, "--minutes", "0", *rows)) == 0
        assert not (work / "rows").exists()
        assert embedded_table.run(_args(work, "--minutes", "5", *rows)) == 0
        before = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
        assert embedded_table.run(_args(work, "--minutes", "5", *rows)) == 0
        # nothing is trained twice
        assert before == {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    return work


def test_every_row_and_seed_has_its_file(done):
    found = {path.stem for path in (done / "rows").glob("*.json")}
    assert found == {"base-1", "sac_5x-1", "sac_5x-2", "icae_15x-1", "icae_15x-2"}
    row = json.loads((done / "rows" / "sac_5x-1.json").read_text())
    assert row["scores"]["compressed"]["asked_by_source"] == {"one chunk": 4, "two chunks": 4}
    assert row["stages"]["finetune"]["seconds_per_step"] > 0
    base = json.loads((done / "rows" / "base-1.json").read_text())
    assert set(base["scores"]) == {"full", "none"}


def test_the_rate_with_the_lowest_mean_loss_is_taken(done):
    told = json.loads((done / "rate.json").read_text())
    losses = told["held_out_loss"]
    assert set(losses) == {"0.001", "0.0001"}
    assert f"{told['chosen']:g}" == min(losses, key=losses.get)
    row = json.loads((done / "rows" / "icae_15x-2.json").read_text())
    rates = [f"optim.lr={rate:.3e}" for rate in (told["chosen"], told["chosen"] / 2)]
    assert [rate in row["settings"][s] for rate, s in zip(rates, row["settings"], strict=True)]
    assert rates[0] in row["settings"]["pretrain"]
    assert rates[1] in row["settings"]["finetune"]


def test_it_is_written(done, tmp_path):
    words = ["show", "--work", str(done), "--out", str(tmp_path)]
    embedded_table.show(embedded_table.arguments().parse_args(words))
    text = (tmp_path / "table.md").read_text()
    for word in ("full context", "none", "SAC 5x | 2", "ICAE 15x | 2", "two chunks", "s/step", "±"):
        assert word in text
    assert len(json.loads((tmp_path / "table.json").read_text())["rows"]) == 5


def test_methods_differ_in_nothing_but_themselves(tmp_path):
    table = embedded_plan.Table(_args(tmp_path))
    recipes = {}
    for trial in table.trials(1e-3):
        for stage in ("pretrain", "finetune") if trial.row.trained else ():
            path = embedded_plan.TRAIN / "recipes" / f"embedded_{stage}.yaml"
            recipe = read_recipe(path, table.changes(trial, stage))
            assert recipe.compress.chunk_size == 255
            alike = replace(
                recipe,
                method="",
                compress=CompressConfig(),
                objectives=Objectives(qa=1.0),
                adapter="",
            )
            recipes.setdefault((stage, trial.seed), []).append((alike, trial.row.name))
    assert len(recipes) == 2 * len(embedded_plan.SEEDS)
    for each in recipes.values():
        assert len({name for _, name in each}) == 8
        assert all(recipe == each[0][0] for recipe, _ in each)


def test_rows_beyond_differ_from_their_plain_row_in_what_they_are_about(tmp_path):
    table = embedded_plan.Table(_args(tmp_path))
    plain = {trial.name: trial for trial in table.trials(1e-3)}
    beyond = {trial.name: trial for trial in table.beyond(1e-3)}
    wanted = {
        "sac_any": ("sac_5x", {"compress.ratios=[5,15,51]"}, {"compress.ratios=[5,15,51]"}),
        "sac_5x_composed": ("sac_5x", set(), {"data.distractors=3"}),
        "sac_15x_query": ("sac_15x", set(), {"query_aware=true"}),
    }
    for name, (like, *more) in wanted.items():
        for seed in embedded_plan.SEEDS:
            one, other = beyond[f"{name}-{seed}"], plain[f"{like}-{seed}"]
            for stage, expected in zip(("pretrain", "finetune"), more, strict=True):
                changes = [table.changes(trial, stage) for trial in (one, other)]
                own, its = map(set, changes)
                start = {word for word in own | its if word.startswith("adapter=")}
                assert own - its - start == expected
                assert not its - own - start
                path = embedded_plan.TRAIN / "recipes" / f"embedded_{stage}.yaml"
                steps = {read_recipe(path, each).steps for each in changes}
                assert len(steps) == 1


def test_a_stage_that_is_another_row_s_is_claimed_with_it_until_it_is_done(tmp_path):
    table = embedded_plan.Table(_args(tmp_path))
    [plain] = [one for one in table.trials(1e-3) if one.name == "sac_15x-2"]
    [query] = [one for one in table.beyond(1e-3) if one.name == "sac_15x_query-2"]
    first, again = table.jobs(plain)[0], table.jobs(query)[0]
    assert (first.command, first.done) == (again.command, again.done)
    assert table.locks(plain)[0] in table.locks(query)
    first.done.parent.mkdir(parents=True)
    first.done.touch()
    assert table.locks(plain)[0] not in table.locks(query)


def test_without_names_the_paper_s_rows_come_first_and_names_choose(tmp_path):
    table = embedded_plan.Table(_args(tmp_path))
    assert {one.label for one in table.trials(1e-3)} == set(embedded_plan.ROWS)
    assert {one.label for one in table.beyond(1e-3)} == set(embedded_beyond.BEYOND)
    named = embedded_plan.Table(_args(tmp_path, "--rows", "sac_any", "sac_5x", "--seeds", "1"))
    assert [one.name for one in named.trials(1e-3)] == ["sac_5x-1"]
    assert [one.name for one in named.beyond(1e-3)] == ["sac_any-1"]


def test_rows_beyond_are_asked_and_leave_finished_rows_alone(done, tmp_path):
    """On a copy: the table's fixture is of the paper's rows alone, and others test that."""
    work = shutil.copytree(done, tmp_path / "table")
    kept = [path for name in ("rows", "runs", "data") for path in (work / name).rglob("*.*")]
    before = {path: path.read_bytes() for path in kept if path.is_file()}
    names = ("base_joined", "sac_5x_joined", "sac_5x_composed", "sac_any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "process", _here)
        args = _args(work, "--minutes", "5", "--rows", *names, "--seeds", "1")
        assert embedded_table.run(args) == 0
    assert before == {path: path.read_bytes() for path in before}
    assert {path.stem for path in (work / "beyond").iterdir()} == {f"{name}-1" for name in names}
    asked = json.loads((work / "beyond" / "sac_any-1.json").read_text())["scores"]
    anchors = [asked[f"compressed {ratio}x"]["mean_counts"]["anchors"] for ratio in (5, 15, 51)]
    assert anchors == sorted(anchors, reverse=True)
    assert anchors[0] > 2 * anchors[1] > 4 * anchors[2]
    words = ["show", "--work", str(work), "--out", str(tmp_path)]
    embedded_table.show(embedded_table.arguments().parse_args(words))
    text = (tmp_path / "table.md").read_text()
    _, section = text.split("## Beyond the paper")
    for line in ("any ratio, at 51x | 1", "SAC 5x, composed | 1", "full context | 1", "SAC 5x | 1"):
        assert line in section
    assert "query-aware |" not in section


def test_the_joined_exam_asks_the_same_where_only_its_own_document_answers(done):
    lines = {
        name: [json.loads(line) for line in (done / "data" / name).read_text().splitlines()]
        for name in ("exam.jsonl", "joined.jsonl")
    }
    assert len(lines["exam.jsonl"]) == len(lines["joined.jsonl"]) == 8
    for alone, joined in zip(*lines.values(), strict=True):
        assert all(alone[name] == joined[name] for name in ("question", "answers", "source"))
        assert len(joined["documents"]) == 4
        [own] = [one["text"] for one in joined["documents"] if one["gold"]]
        assert own == alone["context"]
        for other in joined["documents"]:
            assert (alone["answers"][0].lower() in other["text"].lower()) == other["gold"]


def test_a_row_is_held_against_plain_seed_by_seed():
    def row(name: str, seed: int, **scores: float):
        made = {
            road.replace("_", " "): {
                "asked": 4,
                "macro": {score: {"value": value} for score in embedded_report.SCORES},
            }
            for road, value in scores.items()
        }
        return {"name": name, "seed": seed, "title": name, "stages": {}, "scores": made}

    plain = [row("sac_5x", seed, compressed=seed / 10) for seed in (1, 2, 3)]
    composed = [row("sac_5x_composed", 1, compressed_alone=0.3)]
    composed += [row("sac_5x_composed", 2, compressed_alone=0.2)]
    text = embedded_beyond.section(plain, composed)
    [line] = [one for one in text.splitlines() if one.startswith("| SAC 5x, composed")]
    assert line.endswith("| 25.0 ± 7.1 | +10.0 ± 14.1 |")
    # without its plain row it stands alone, and without any row there is no section
    assert "| 25.0 ± 7.1 |  |" in embedded_beyond.section([], composed)
    assert embedded_beyond.section(plain, []) == ""


def test_an_entry_told_again_has_every_answer_and_the_second_half_of_the_text(done):
    from atlas import World
    from table_texts import CHUNK, told_again
    from table_texts import entry as made

    coder = Coder(AutoTokenizer.from_pretrained(NANO))
    world = World("test")
    document = made(world, coder, (100, 200))
    again = told_again(document, world.rng)
    assert all(question.answer in again for question in document.questions)
    lengths = [
        coder.count(json.loads(line)["context"])
        for line in (done / "data" / "exam.jsonl").read_text().splitlines()
    ]
    assert sum(length > CHUNK for length in lengths) == len(lengths) // 2


def test_what_is_studied_is_of_the_exam_s_entries_and_never_asked(done):
    exam, study = (
        [json.loads(line) for line in (done / "data" / name).read_text().splitlines()]
        for name in ("exam.jsonl", "study.jsonl")
    )
    assert {row["context"] for row in study} == {row["context"] for row in exam}
    asked, studied = ({(row["context"], row["question"]) for row in rows} for rows in (exam, study))
    assert not asked & studied
    answers = {(row["context"], *row["answers"]) for row in exam}
    assert answers <= {(row["context"], *row["answers"]) for row in study}


def test_one_works_where_another_is_not(tmp_path):
    with embedded_table.claimed(tmp_path / "a") as first:
        with embedded_table.claimed(tmp_path / "a") as second:
            assert first
            assert not second
        with embedded_table.claimed(tmp_path / "b") as other:
            assert other
    with embedded_table.claimed(tmp_path / "a") as again:
        assert again


def test_spread():
    assert embedded_report.spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert embedded_report.spread([2.0]) == "2.0"
