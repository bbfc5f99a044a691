"""What the table of the embedded model is made of: data and base, rates, rows, their processes.

``embedded_table.py`` says what is compared, and does it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

TRAIN = Path(__file__).resolve().parents[1]
sys.path.append(str(TRAIN / "micro"))  # rows and jobs are those of micro's table

import embedded_report  # noqa: E402
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
        """Choose by the rule of the head of ``embedded_table.py``."""
        found = [json.loads(trial.result.read_text("utf-8")) for trial in self.rate_trials()]
        losses: dict[float, list[float]] = {}
        for trial, facts in zip(self.rate_trials(), found, strict=True):
            losses.setdefault(trial.lr, []).append(facts["stages"]["finetune"]["held_out_loss"])
        means = {lr: sum(each) / len(each) for lr, each in losses.items()}
        best = min(means, key=lambda lr: means[lr])
        told = {"chosen": best, "held_out_loss": {f"{lr:g}": loss for lr, loss in means.items()}}
        (self.work / "rate.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return best
