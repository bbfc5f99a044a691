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
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRAIN = Path(__file__).resolve().parents[1]
sys.path.append(str(TRAIN / "micro"))  # rows and jobs are those of micro's table

import embedded_report  # noqa: E402
import jobs  # noqa: E402
from jobs import Job  # noqa: E402
from rows import Row, rows_named  # noqa: E402

METHODS = ("sac", "epl", "500x", "icae")
ROWS = ("base", *(f"{method}_{ratio}x" for ratio in (5, 15) for method in METHODS))
SEEDS = (1, 2, 3)
RATE_SEED = 0
"""Of the runs that choose the learning rate; none of the table's."""
WAIT_S = 2.0
"""Between two looks at what another process is at."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One row with one seed."""

    row: Row
    seed: int
    lr: float
    folder: Path
    """Holds its runs."""
    result: Path
    """Written once it is finished."""
    steps: int = 0
    """Of each stage; 0 for the recipe's."""
    asked: bool = True
    """Whether it is asked the exam; else its held-out loss is the result."""

    @property
    def name(self) -> str:
        """What messages and files call it."""
        return f"{self.row.name}-{self.seed}"


class Table:
    """Where everything lies, and what is to be done.

    Args:
        args: As the command line gives them.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.work = args, Path(args.work)
        self.data, self.base = self.work / "data", self.work / "base"
        self.environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}

    def preparation(self) -> list[Job]:
        """List what comes before the rows."""
        script = str(TRAIN / "embedded")
        base = ("--base", str(self.args.base))
        texts = (sys.executable, f"{script}/table_texts.py", *base, "--out", str(self.data))
        prose = (sys.executable, f"{script}/prose.py", *base, "--data", str(self.data))
        prose += ("--out", str(self.base))
        return [
            Job(
                row="data",
                what="write",
                command=(*texts, *self.args.texts),
                done=self.work / "data.json",
            ),
            Job(
                row="base",
                what="prose",
                command=(*prose, *self.args.prose),
                done=self.work / "base.json",
            ),
        ]

    def rate_trials(self) -> list[Trial]:
        """List the short runs that choose the learning rate."""
        return [
            self._trial(row, RATE_SEED, lr, self.work / "rates" / f"{lr:g}", asked=False)
            for lr in self.args.rates
            for row in rows_named([f"{method}_5x" for method in METHODS])
        ]

    def trials(self, lr: float) -> list[Trial]:
        """List the table's rows: all of a seed, then the next. An untrained row needs one."""
        wanted = rows_named(self.args.rows or list(ROWS))
        return [
            self._trial(row, seed, lr, self.work)
            for place, seed in enumerate(self.args.seeds)
            for row in wanted
            if row.trained or place == 0
        ]

    def _trial(self, row: Row, seed: int, lr: float, where: Path, *, asked: bool = True) -> Trial:
        return Trial(
            row=row,
            seed=seed,
            lr=lr,
            folder=where / "runs" / f"{row.name}-{seed}",
            result=where / "rows" / f"{row.name}-{seed}.json",
            steps=0 if asked else self.args.rate_steps,
            asked=asked,
        )

    def changes(self, trial: Trial, stage: str) -> list[str]:
        """Write a stage's settings as ``key=value``."""
        first = stage == "pretrain"
        files = self.data / ("texts.jsonl" if first else "questions.jsonl")
        lr = trial.lr if first else trial.lr / 2
        made = [f"model={self.base}", f'data.train=["{files}"]', f"optim.lr={lr:.3e}"]
        made += [f"seed={trial.seed}", f"data.order_seed={trial.seed}"]
        made += [] if first else [f"adapter={trial.folder / 'pretrain' / 'adapter'}"]
        made += [*trial.row.both, *(trial.row.pretrain if first else trial.row.finetune)]
        made += getattr(self.args, stage)
        return [*made, f"steps={trial.steps}"] if trial.steps else made

    def jobs(self, trial: Trial) -> list[Job]:
        """List a trial's processes, in order."""
        stages = ("pretrain", "finetune") if trial.row.trained else ()
        made = [self._stage(trial, stage) for stage in stages]
        return [*made, self._score(trial)] if trial.asked else made

    def _stage(self, trial: Trial, stage: str) -> Job:
        out = trial.folder / stage
        command = (sys.executable, "-m", "sac_rag.train", "--config")
        command += (str(TRAIN / "recipes" / f"embedded_{stage}.yaml"), f"out={out}")
        return Job(
            row=trial.name,
            what=stage,
            command=(*command, *self.changes(trial, stage)),
            done=out / "finished.json",
        )

    def _score(self, trial: Trial) -> Job:
        command = [sys.executable, str(TRAIN / "reproduce" / "embedded_score.py")]
        command += ["--model", str(self.base), "--exam", str(self.data / "exam.jsonl")]
        command += ["--roads", *trial.row.roads, "--out", str(trial.folder / "scores.json")]
        command += ["--answers", str(trial.folder / "answers")]
        if trial.row.trained:
            command += ["--adapter", str(trial.folder / "finetune" / "adapter")]
        done = trial.folder / "asked.json"
        return Job(row=trial.name, what="score", command=tuple(command), done=done)

    def finish(self, trial: Trial) -> None:
        """Write the result of a trial."""
        stages = ("pretrain", "finetune") if trial.row.trained else ()
        facts = {"name": trial.row.name, "title": trial.row.title, "seed": trial.seed}
        facts |= {
            "settings": {stage: self.changes(trial, stage) for stage in stages},
            "stages": {
                stage: embedded_report.stage_facts(trial.folder / stage) for stage in stages
            },
        }
        if trial.asked:
            facts["scores"] = json.loads((trial.folder / "scores.json").read_text("utf-8"))
        trial.result.parent.mkdir(parents=True, exist_ok=True)
        temporary = trial.result.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        temporary.replace(trial.result)

    def learning_rate(self) -> float:
        """Choose by the rule of the head of this file."""
        found = [json.loads(trial.result.read_text("utf-8")) for trial in self.rate_trials()]
        losses: dict[float, list[float]] = {}
        for trial, facts in zip(self.rate_trials(), found, strict=True):
            losses.setdefault(trial.lr, []).append(facts["stages"]["finetune"]["held_out_loss"])
        means = {lr: sum(each) / len(each) for lr, each in losses.items()}
        best = min(means, key=lambda lr: means[lr])
        told = {"chosen": best, "held_out_loss": {f"{lr:g}": loss for lr, loss in means.items()}}
        (self.work / "rate.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return best


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
            lock = table.work / "locks" / trial.result.relative_to(table.work).with_suffix("")
            with claimed(lock) as mine:
                # another process may have finished it since
                if mine and not trial.result.is_file() and open_ones[trial] != "failed":
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
        unfinished = _all(table, table.trials(lr), until)
    for helper in helpers:
        helper.wait()
    print(f"not finished: {', '.join(f'{n} ({s})' for n, s in unfinished.items()) or 'none'}")
    return 1 if "failed" in unfinished.values() else 0


def show(args: argparse.Namespace) -> int:
    """Write the table of all finished rows."""
    work = Path(args.work)
    found = [json.loads(path.read_text("utf-8")) for path in (work / "rows").glob("*.json")]
    if not found:
        raise SystemExit(f"no row is finished in {work}; call `run` first")
    found.sort(key=lambda one: (ROWS.index(one["name"]), one["seed"]))
    about = {
        name: json.loads(path.read_text("utf-8"))
        for name, path in (("rate", work / "rate.json"), ("base", work / "base" / "prose.json"))
        if path.is_file()
    }
    text = embedded_report.markdown(found, about)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
        whole = json.dumps({**about, "rows": found}, indent=1)
        (args.out / "table.json").write_text(whole + "\n", encoding="utf-8")
    return 0


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
    working.add_argument("--rows", nargs="*", default=[], choices=ROWS, help="all without")
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
