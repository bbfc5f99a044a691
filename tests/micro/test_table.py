"""The table at toy size: broken off, gone on with, and written; every row's recipe is sound."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jobs
import pytest
import report
import table
from bpe import save, train, training_material
from decoder import export, new_model
from rows import ROWS, rows_named
from transformers import AutoTokenizer

from sac_rag.train.__main__ import main as train_main
from sac_rag.train.recipe_file import read_recipe

TOY = ["steps=2", "batch=2", "micro_batch=2", "save_every=1", "log_every=1"]
TOY += ["lora.rank=2", "lora.alpha=4", "optim.warmup_steps=1"]


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save(train(training_material(data), vocabulary=500), folder / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    export(new_model("toy", tokenizer, seed=0), folder / "tokenizer", folder / "model")
    return folder / "model"


def _args(data, model, work, *words: str):
    texts = data / "text" / "enwiki2018_new.txt.xz"
    asked = ["run", "--data", data, "--model", model, "--work", work, "--texts", texts]
    asked += ["--limit", 2, "--batch", 4, *words]
    asked += ["--pretrain", *TOY, "data.min_tokens=20", "data.held_out=4"]
    return table.arguments().parse_args([*map(str, asked), "--finetune", *TOY])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_a_sound_recipe_and_differs_in_what_it_says(row, data, model, tmp_path):
    made = table.Table(_args(data, model, tmp_path))
    made.check(row)
    if row.trained:
        plain, own = (
            read_recipe(table.RECIPES / "micro_finetune.yaml", made.changes(one, "finetune"))
            for one in (rows_named(["sac_5x"])[0], row)
        )
        assert (own.steps, own.batch, own.seed, own.optim) == (
            *(plain.steps, plain.batch, plain.seed),
            plain.optim,
        )
        cloze = (str(tmp_path / "cloze" / "cloze.train.jsonl.xz"),) if row.cloze else ()
        assert own.data.train == plain.data.train + cloze


def test_all_linear_has_the_weights_of_query_and_value():
    """29 * 7,808 is within 2 % of 128 * 1,792; the numbers are micro's own widths."""
    from decoder import SIZES

    size = SIZES["micro"]
    q, kv, d, f = size.heads * 64, size.groups * 64, size.width, size.inner
    plain = 128 * ((d + q) + (d + kv))
    every = 29 * ((d + q) + 2 * (d + kv) + (q + d) + 3 * (d + f))
    assert abs(every / plain - 1) < 0.02


def test_unknown_rows_are_refused():
    with pytest.raises(SystemExit, match="no row is called sac_7x"):
        rows_named(["sac_7x"])


def _here(command, until, environment=None):
    """Run a command's own entry point in this process: the same work without the start-up."""
    words = list(command)
    if "-m" in words:
        return train_main(words[words.index("sac_rag.train") + 1 :]), 0.0
    script = importlib.import_module(Path(words[1]).stem)
    script.main(script.arguments().parse_args(words[2:]))
    return 0, 0.0


def test_a_process_is_ended_in_time_and_its_code_is_given():
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    code, seconds = jobs.process(sleeper, time.time() + 0.2)
    assert code is None
    assert seconds < 15
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    assert jobs.process(failing, time.time() + 60)[0] == 3


def test_sigterm_ends_the_process_too(tmp_path):
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    parent = "import sys, time, jobs; jobs.process(sys.argv[1:], time.time() + 60)"
    note = tmp_path / "pid"
    running = subprocess.Popen(
        [sys.executable, "-c", parent, sys.executable, "-c", child, note],
        env={"PYTHONPATH": str(Path(jobs.__file__).parent)},
    )
    while not (note.exists() and note.read_text()):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_broken_off_gone_on_with_and_shown(data, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "process", _here)
    names = ("--rows", "base", "sac_5x")
    work = tmp_path / "work"
    assert table.run(_args(data, model, work, "--minutes", "0", *names)) == 0
    assert "waiting: base, sac_5x" in capsys.readouterr().out
    assert not (work / "rows").exists()
    table.run(_args(data, model, work, "--minutes", "5", *names))
    assert "failed: none; waiting: none" in capsys.readouterr().out
    files = {path.stem: json.loads(path.read_text()) for path in (work / "rows").glob("*.json")}
    assert set(files) == {"base", "sac_5x"}
    assert set(files["base"]["domains"]["in-domain"]) == {"full", "none"}
    assert files["sac_5x"]["domains"]["in-domain"]["compressed"]["asked"] == 2
    # all is done: nothing is trained again
    assert table.run(_args(data, model, work, "--minutes", "0", *names)) == 0
    assert "waiting: none" in capsys.readouterr().out
    # what is asked for is another row by the same name: said, not passed over
    for other in (("--seed", "7"), ("--limit", "3")):
        assert table.run(_args(data, model, work, "--minutes", "0", *names, *other)) == 1
        assert "failed: base, sac_5x" in (told := capsys.readouterr().out)
        assert "give another --work" in told
    out = tmp_path / "out"
    table.show(table.arguments().parse_args(["show", "--work", str(work), "--out", str(out)]))
    written = (out / "table.md").read_text()
    for word in ("full context", "none", "SAC 5x", "in-domain", "out-of-domain"):
        assert word in written
    assert len(json.loads((out / "table.json").read_text())) == 2


@pytest.mark.parametrize(
    "name", ["sac_5x_cloze", "sac_5x_distilled", "sac_5x_importance", "sac_5x_sink"]
)
def test_a_row_beyond_the_paper_is_trained_and_scored(name, data, model, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "process", _here)
    asked = _args(data, model, tmp_path, "--minutes", "5", "--rows", name)
    assert table.run(asked) == 0
    row = json.loads((tmp_path / "rows" / f"{name}.json").read_text())
    assert row["domains"]["in-domain"]["compressed"]["asked"] == 2


def test_the_share_that_is_kept():
    def scores(value: float):
        return {"macro": {"squad_f1": {"value": value, "low": 0.0, "high": 1.0}}}

    assert report.kept(scores(0.45), scores(0.5)) == pytest.approx(0.9)
    assert report.kept(scores(0.45), scores(0.0)) is None
    assert report.kept(scores(0.45), None) is None
