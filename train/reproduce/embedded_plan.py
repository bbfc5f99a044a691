"""What the table of the embedded model is made of: data and base, rates, rows, their processes.

``embedded_table.py`` says what is compared, and does it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parents[1]
sys.path.append(str(TRAIN / "micro"))  # rows and jobs are those of micro's table

import embedded_report  # noqa: E402
from embedded_beyond import BEYOND, THE_EXAM, Asking  # noqa: E402
from jobs import Job  # noqa: E402
from rows import Row, rows_named  # noqa: E402

METHODS = ("sac", "epl", "500x", "icae")
ROWS = ("base", *(f"{method}_{ratio}x" for ratio in (5, 15) for method in METHODS))
SEEDS = (1, 2, 3)
RATE_SEED = 0
"""Of the runs that choose the learning rate; none of the table's."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One row with one seed."""

    label: str
    """The row's name, or where another row's adapter is asked, that of the asking."""
    row: Row
    seed: int
    lr: float
    runs: Path
    """Holds a folder for each row and seed."""
    result: Path
    """Written once it is finished."""
    steps: int = 0
    """Of each stage; 0 for the recipe's."""
    asked: tuple[Asking, ...] = ()
    """What it is asked; without anything its held-out loss is the result."""

    @property
    def name(self) -> str:
        """What messages and the result's file call it."""
        return f"{self.label}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Holds its runs and answers."""
        return self.runs / f"{self.row.name}-{self.seed}"

    @property
    def stages(self) -> tuple[str, ...]:
        """What is trained, in order."""
        return ("pretrain", "finetune") if self.row.trained else ()

    def run_of(self, stage: str) -> Path:
        """Give the folder of a stage: a first stage may be another row's."""
        shared = stage == "pretrain" and self.row.pretrained_as
        return (self.runs / f"{shared}-{self.seed}" if shared else self.folder) / stage

    @property
    def borrowed(self) -> list[str]:
        """Name the trials whose stages this one would train, as they have not done so yet."""
        runs = [self.run_of(stage) for stage in self.stages]
        owners = {run.parent.name for run in runs if not _finished(run).is_file()}
        return sorted(owners - {self.name})


def _finished(run: Path) -> Path:
    return run / "finished.json"


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
        joined = (sys.executable, f"{script}/joined_exam.py", *base)
        joined += ("--exam", str(self._exam("exam")), "--out", str(self._exam("joined")))
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
            Job(row="joined", what="write", command=joined, done=self.work / "joined.json"),
        ]

    def rate_trials(self) -> list[Trial]:
        """List the short runs that choose the learning rate."""
        return [
            self._trial(row, RATE_SEED, lr, self.work / "rates" / f"{lr:g}")
            for lr in self.args.rates
            for row in rows_named([f"{method}_5x" for method in METHODS])
        ]

    def trials(self, lr: float) -> list[Trial]:
        """List the paper's rows that are wanted: all of a seed, then the next."""
        known = {row.name: row for row in rows_named(list(ROWS))}
        return [
            replace(self._trial(known[name], seed, lr, self.work), steps=0, asked=(THE_EXAM,))
            for name, seed in self._wanted(known)
        ]

    def beyond(self, lr: float) -> list[Trial]:
        """List the rows beyond the paper that are wanted, in the same order."""
        return [
            replace(
                self._trial(BEYOND[name].row, seed, lr, self.work),
                label=name,
                result=self.work / "beyond" / f"{name}-{seed}.json",
                steps=0,
                asked=BEYOND[name].asked,
            )
            for name, seed in self._wanted({name: one.row for name, one in BEYOND.items()})
        ]

    def _wanted(self, known: Mapping[str, Row]) -> list[tuple[str, int]]:
        """Give rows and seeds; an untrained row needs one seed."""
        names = [name for name in self.args.rows or known if name in known]
        return [
            (name, seed)
            for place, seed in enumerate(self.args.seeds)
            for name in names
            if known[name].trained or place == 0
        ]

    def _trial(self, row: Row, seed: int, lr: float, where: Path) -> Trial:
        return Trial(
            label=row.name,
            row=row,
            seed=seed,
            lr=lr,
            runs=where / "runs",
            result=where / "rows" / f"{row.name}-{seed}.json",
            steps=self.args.rate_steps,
        )

    def locks(self, trial: Trial) -> list[Path]:
        """Name what a process claims before it works on a trial."""
        lent = [self.work / "rows" / f"{name}.json" for name in trial.borrowed]
        results = [one.relative_to(self.work) for one in (trial.result, *lent)]
        return [self.work / "locks" / one.with_suffix("") for one in results]

    def _exam(self, name: str) -> Path:
        return self.data / f"{name}.jsonl"

    def changes(self, trial: Trial, stage: str) -> list[str]:
        """Write a stage's settings as ``key=value``."""
        first = stage == "pretrain"
        files = self.data / ("texts.jsonl" if first else "questions.jsonl")
        lr = trial.lr if first else trial.lr / 2
        made = [f"model={self.base}", f'data.train=["{files}"]', f"optim.lr={lr:.3e}"]
        made += [f"seed={trial.seed}", f"data.order_seed={trial.seed}"]
        made += [] if first else [f"adapter={trial.run_of('pretrain') / 'adapter'}"]
        made += [*trial.row.both, *(trial.row.pretrain if first else trial.row.finetune)]
        made += getattr(self.args, stage)
        return [*made, f"steps={trial.steps}"] if trial.steps else made

    def jobs(self, trial: Trial) -> list[Job]:
        """List a trial's processes, in order."""
        made = [self._stage(trial, stage) for stage in trial.stages]
        return [*made, *(self._score(trial, asking) for asking in trial.asked)]

    def _stage(self, trial: Trial, stage: str) -> Job:
        out = trial.run_of(stage)
        command = (sys.executable, "-m", "sac_rag.train", "--config")
        command += (str(TRAIN / "recipes" / f"embedded_{stage}.yaml"), f"out={out}")
        return Job(
            row=trial.name,
            what=stage,
            command=(*command, *self.changes(trial, stage)),
            done=_finished(out),
        )

    def _score(self, trial: Trial, asking: Asking) -> Job:
        out = trial.folder / asking.at
        command = [sys.executable, str(TRAIN / "reproduce" / "embedded_score.py")]
        command += ["--model", str(self.base), "--exam", str(self._exam(asking.exam))]
        command += ["--roads", *trial.row.roads, "--out", str(out / "scores.json")]
        command += ["--answers", str(out / "answers")]
        if trial.row.trained:
            command += ["--adapter", str(trial.run_of("finetune") / "adapter")]
        if asking.ratio:
            command += ["--ratio", str(asking.ratio)]
        what = f"score {asking.at}".strip()
        return Job(row=trial.name, what=what, command=tuple(command), done=out / "asked.json")

    def finish(self, trial: Trial) -> None:
        """Write the result of a trial."""
        facts = {"name": trial.label, "title": trial.row.title, "seed": trial.seed}
        facts |= {
            "settings": {stage: self.changes(trial, stage) for stage in trial.stages},
            "stages": {
                stage: embedded_report.stage_facts(trial.run_of(stage)) for stage in trial.stages
            },
        }
        if trial.asked:
            facts["scores"] = {
                f"{road} {asking.at}".strip(): scores
                for asking in trial.asked
                for road, scores in _read(trial.folder / asking.at / "scores.json").items()
            }
        trial.result.parent.mkdir(parents=True, exist_ok=True)
        temporary = trial.result.with_suffix(".tmp")
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        temporary.replace(trial.result)

    def learning_rate(self) -> float:
        """Choose by the rule of the head of ``embedded_table.py``."""
        found = [_read(trial.result) for trial in self.rate_trials()]
        losses: dict[float, list[float]] = {}
        for trial, facts in zip(self.rate_trials(), found, strict=True):
            losses.setdefault(trial.lr, []).append(facts["stages"]["finetune"]["held_out_loss"])
        means = {lr: sum(each) / len(each) for lr, each in losses.items()}
        best = min(means, key=lambda lr: means[lr])
        told = {"chosen": best, "held_out_loss": {f"{lr:g}": loss for lr, loss in means.items()}}
        (self.work / "rate.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return best


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
