"""The way in and out: help without torch, clean errors, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from sac_rag import __version__, open_store
from sac_rag.cli import main
from sac_rag.errors import ConfigError, CorruptEntryError

RUN = "from sac_rag.cli.main import main; main()"
LIGHT = """
import sys
from sac_rag.cli.main import main
COMMANDS = ("demo", "bench", "plan", "store")
for words in (["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), []):
    sys.argv = ["sac-rag", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
heavy = {"torch", "transformers", "peft", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_loads_no_torch_and_fits_the_page():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"sac-rag {__version__}\n" in done.stdout
    assert done.stdout.count("Usage: sac-rag") == 6
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_help_names_every_command(sac_rag):
    shown = sac_rag("--help").stdout
    for command in main.COMMANDS:
        assert command.__name__.strip("_").replace("_", "-") in shown
    assert "store" in shown


@pytest.mark.parametrize(
    "words",
    [
        ["compress"],
        ["compress", "a.txt"],
        ["compres", "a.txt"],
        ["ask", "Who?", "--docks", "a.txt"],
        ["ask", "Who?", "--docs", "a.txt", "--ratio", "none"],
        ["ask", "Who?", "--docs", "a.txt", "--max-new-tokens", "0"],
        ["ask"],
        ["ask", "Who?"],
        ["ask", " ", "--docs", "a.txt"],
        ["store", "ls", "nowhere"],
        ["store", "gc", ".", "--max-bytes", "many"],
        ["demo", "--docs", "nowhere"],
    ],
)
def test_wrong_words_are_one_clean_line_or_json(
    sac_rag, sac_rag_json, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = sac_rag(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    code, told = sac_rag_json(*words)
    assert code == 2
    assert set(told) == {"error", "message"}
    assert told["message"] in result.stderr


def broken(error):
    def command(as_json: bool = False) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [(CorruptEntryError("damaged"), 1), (ConfigError("no"), 2), (ZeroDivisionError("oh"), 1)],
)
def test_errors_leave_with_a_traceback_only_on_demand(sac_rag, monkeypatch, error, code):
    [info] = [one for one in main.app.registered_commands if one.name == "info"]
    monkeypatch.setattr(info, "callback", broken(error))
    result = sac_rag("info")
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert str(error) in result.stderr
    assert "Traceback" in sac_rag("info", "--debug").stderr


def test_ctrl_c_leaves_with_130(sac_rag, monkeypatch):
    [info] = [one for one in main.app.registered_commands if one.name == "info"]
    monkeypatch.setattr(info, "callback", broken(KeyboardInterrupt()))
    result = sac_rag("info")
    assert result.exit_code == 130
    assert result.stderr == "stopped\n"


def test_ctrl_c_stops_a_real_answer(tiny, notes):
    words = ["ask", "Who?", "--docs", notes, *tiny, "--max-new-tokens", 3000, "--temperature", 5]
    # a shell that runs these tests in the background has children ignore the signal
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    running = subprocess.Popen(
        [sys.executable, "-c", heed + RUN, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout.read(1)  # the answer has begun
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    assert b"Traceback" not in errors
    assert b"stopped" in errors


def test_a_reader_that_has_enough_sees_no_traceback(tmp_path):
    with open_store(tmp_path / "store") as store:
        store.backend.mset([(f"text/{number:032x}", b"{}") for number in range(500)])
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, "store", "ls", str(tmp_path / "store"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(120) == 1


@pytest.mark.parametrize("words", [("--json", "report.json"), ("--json=report.json",)])
def test_an_error_is_a_line_where_json_goes_to_a_file(sac_rag, tmp_path, words):
    result = sac_rag("eval", "--data", tmp_path / "none.jsonl", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("words", [("--json", "-"), ("--json=-",)])
def test_an_error_is_json_where_json_goes_to_stdout(sac_rag, tmp_path, words):
    result = sac_rag("eval", "--data", tmp_path / "none.jsonl", *words)
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout)["message"]
