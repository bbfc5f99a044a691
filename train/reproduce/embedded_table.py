"""SAC, EPL, 500x and ICAE at 5x and 15x, full context and none, on two CPU cores: one table.

    python train/reproduce/embedded_table.py run --processes 2 --minutes 120
    python train/reproduce/embedded_table.py show --out train/reproduce/embedded

``run`` writes its own data (``table_texts.py``), teaches the embedded decoder to continue prose
(``prose.py`` says why), chooses one learning rate for all methods, then pretrains, fine-tunes and
asks every row with every seed. What is not done when the minutes are over goes on at the next call,
and a killed one loses what came after its last checkpoint. Each process takes what no other is at;
a finished row is ``WORK/rows/NAME-SEED.json``. ``show`` writes Markdown and JSON.

All methods share base, data and its order, steps, batch, LoRA, and within a seed the draw of
weights and the shuffle. **The learning rate**: each rate of ``--rates`` trains SAC, EPL, 500x and
ICAE at 5x for ``--rate-steps`` steps of both stages, with a seed of its own; the rate with the
lowest held-out loss of the second stage, as a mean over the four, is every row's (the second
stage takes half of it, as in the paper).

**Beyond the paper** (``embedded_beyond.py``): one adapter for any ratio, composition-aware and
query-aware fine-tuning, each beside its plain row. ``run`` without ``--rows`` does them after all
of the paper's; with names, those that are named. Their results are ``WORK/beyond/NAME-SEED.json``,
and a section of ``show``.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import embedded_report
from embedded_plan import ROWS, SEEDS, TRAIN, Table, Trial

import jobs  # isort: skip  # on the path by embedded_plan
from embedded_beyond import BEYOND, section  # isort: skip

WAIT_S = 2.0
"""Between two looks at what another process is at."""


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Say whether this process may work on something; the claim ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _prepare(table: Table, until: float) -> str:
    while True:
        with claimed(table.work / "locks" / "preparation") as mine:
            if mine:
                return jobs.work(table.preparation(), until, table.environment)
        if time.time() > until:
            return "left"
        time.sleep(WAIT_S)


def _all(table: Table, trials: Sequence[Trial], until: float) -> dict[str, str]:
    """Do what nobody else is at until all is done; give the state of what is not."""
    open_ones = dict.fromkeys(trials, "left")
    while open_ones:
        for trial in list(open_ones):
            if trial.result.is_file():
                del open_ones[trial]
                continue
            with ExitStack() as claims:
                mine = [claims.enter_context(claimed(lock)) for lock in table.locks(trial)]
                # another process may have finished it since
                if all(mine) and not trial.result.is_file() and open_ones[trial] != "failed":
                    open_ones[trial] = jobs.work(table.jobs(trial), until, table.environment)
                    if open_ones[trial] == "done":
                        table.finish(trial)
        if all(state == "failed" for state in open_ones.values()) or time.time() > (
            until - jobs.LEAST_S
        ):
            break
        time.sleep(WAIT_S)
    return {trial.name: open_ones[trial] for trial in open_ones if not trial.result.is_file()}


def run(args: argparse.Namespace) -> int:
    """Work until all is done or the minutes are over; give the exit code."""
    helpers = [
        subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--processes", "1"])
        for _ in range(args.processes - 1)
    ]
    table, until = Table(args), time.time() + args.minutes * 60
    state = _prepare(table, until)
    unfinished = {} if state == "done" else {"preparation": state}
    if not unfinished and not args.lr:
        unfinished = _all(table, table.rate_trials(), until)
    if not unfinished:
        lr = args.lr or table.learning_rate()
        unfinished = _all(table, [*table.trials(lr), *table.beyond(lr)], until)
    for helper in helpers:
        helper.wait()
    print(f"not finished: {', '.join(f'{n} ({s})' for n, s in unfinished.items()) or 'none'}")
    return 1 if "failed" in unfinished.values() else 0


def show(args: argparse.Namespace) -> int:
    """Write the table of all finished rows."""
    work = Path(args.work)
    found, beyond = (_results(work / "rows", ROWS), _results(work / "beyond", tuple(BEYOND)))
    if not found and not beyond:
        raise SystemExit(f"no row is finished in {work}; call `run` first")
    about = {
        name: json.loads(path.read_text("utf-8"))
        for name, path in (("rate", work / "rate.json"), ("base", work / "base" / "prose.json"))
        if path.is_file()
    }
    parts = [embedded_report.markdown(found, about) if found else "", section(found, beyond)]
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
        facts = {**about, "rates": _rates(work), "rows": found, "beyond": beyond}
        # where it was made is nobody's concern
        whole = json.dumps(facts, indent=1).replace(str(work), "WORK")
        (args.out / "table.json").write_text(whole + "\n", encoding="utf-8")
    return 0


def _rates(work: Path) -> dict[str, dict[str, float]]:
    """Give each method's held-out loss of the second stage at each rate that was tried."""
    losses: dict[str, dict[str, float]] = {}
    for path in sorted((work / "rates").glob("*/rows/*.json")):
        trial = json.loads(path.read_text("utf-8"))
        found = losses.setdefault(path.parents[1].name, {})
        found[trial["name"]] = trial["stages"]["finetune"]["held_out_loss"]
    return losses


def _results(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda one: (names.index(one["name"]), one["seed"]))


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    working = commands.add_parser("run")
    working.add_argument("--work", type=Path, default=Path("runs/embedded_table"))
    working.add_argument("--base", type=Path, default=TRAIN / "embedded" / "full_text")
    working.add_argument("--minutes", type=float, default=50.0, help="of this call")
    working.add_argument("--processes", type=int, default=1, help="that work side by side")
    working.add_argument("--threads", type=int, default=1, help="of a process")
    working.add_argument(
        "--rows", nargs="*", default=[], choices=(*ROWS, *BEYOND), help="all without"
    )
    working.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    working.add_argument("--lr", type=float, default=0.0, help="instead of the rule's choice")
    working.add_argument("--rates", nargs="+", type=float, default=[3e-4, 1e-3, 3e-3])
    working.add_argument("--rate-steps", type=int, default=40)
    working.add_argument("--texts", nargs="*", default=[], metavar="NAME=N", type=_option)
    working.add_argument("--prose", nargs="*", default=[], metavar="NAME=N", type=_option)
    working.add_argument("--pretrain", nargs="*", default=[], metavar="key=value")
    working.add_argument("--finetune", nargs="*", default=[], metavar="key=value")
    working.set_defaults(command=run)
    showing = commands.add_parser("show")
    showing.add_argument("--work", type=Path, default=Path("runs/embedded_table"))
    showing.add_argument("--out", type=Path)
    showing.set_defaults(command=show)
    return parser


def _option(text: str) -> str:
    """Write ``steps=5`` as the option ``--steps=5`` of a script."""
    return f"--{text}"


if __name__ == "__main__":
    asked = arguments().parse_args()
    sys.exit(asked.command(asked))
