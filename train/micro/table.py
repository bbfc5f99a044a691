"""Train and score the rows of micro's table, within the minutes of a call.

    python train/micro/table.py run --data ../shared/data --model runs/micro/model \\
        --work runs/table --minutes 9 [--rows sac_5x epl_5x] [--seed 12345]
    python train/micro/table.py show --work runs/table --out train/reproduce/micro

``run`` does what is not done yet, in the order of ``rows.py``: pretraining, fine-tuning, scores;
each is a process that is ended when the minutes are over and goes on at the next call, so calls
can be as short as one likes and a killed one loses what came after its last checkpoint. A finished
row is ``WORK/rows/NAME.json``. ``show`` makes the table, as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import jobs
import report
from corpus import TRAIN_SETS, qa_paths
from jobs import Job
from rows import ROWS, Row, rows_named

from sac_rag.errors import ConfigError
from sac_rag.train.recipe_file import read_recipe

HERE = Path(__file__).parent
RECIPES = HERE.parent / "recipes"


class Table:
    """Where everything lies, and what is asked for.

    Args:
        args: As the command line gives them.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        found = [path for path in qa_paths(args.data, TRAIN_SETS, split="train") if path.is_file()]
        self._questions = [str(path) for path in found]

    def jobs(self, row: Row) -> list[Job]:
        """List a row's processes, in order."""
        made = []
        if row.trained:
            first = row.pretrained_as or row.name
            if row.cloze:
                made.append(self._cut_cloze(row))
            made.append(self._stage(row, "pretrain", self._folder("pretrain", first)))
            made.append(self._stage(row, "finetune", self._folder("finetune", row.name)))
        return [*made, self._score(row)]

    def changes(self, row: Row, stage: str) -> list[str]:
        """Write a stage's settings as ``key=value``."""
        own = row.pretrain if stage == "pretrain" else row.finetune
        places = [f"model={self.args.model}", f"seed={self.args.seed}"]
        if stage == "finetune":
            first = self._folder("pretrain", row.pretrained_as or row.name)
            questions = [*self._questions, *([str(self._cloze)] if row.cloze else [])]
            places += [f"data.train={json.dumps(questions)}", f"adapter={first / 'adapter'}"]
            return [*places, *row.both, *own, *self.args.finetune]
        if self.args.texts:
            places.append(f'data.train=["{self.args.texts}"]')
        return [*places, *row.both, *own, *self.args.pretrain]

    def recipe_of(self, row: Row) -> dict[str, list[str]]:
        """Give what a row's numbers depend on, beside recipes and data."""
        if not row.trained:
            return {}
        return {stage: self.changes(row, stage) for stage in ("pretrain", "finetune")}

    def check(self, row: Row) -> None:
        """Read a row's recipes, of both stages, before anything is trained.

        Raises:
            ConfigError: If this library cannot train it.
        """
        for stage, changes in self.recipe_of(row).items():
            read_recipe(RECIPES / f"micro_{stage}.yaml", changes)

    def scores(self, row: Row) -> Path:
        """Give the file of a finished row."""
        return self.args.work / "rows" / f"{row.name}.json"

    def finished(self, row: Row) -> bool:
        """Tell whether a row is finished.

        Raises:
            ConfigError: If it was finished with other settings: its numbers are not comparable.
        """
        if not self.scores(row).is_file():
            return False
        found = json.loads(self.scores(row).read_text("utf-8"))
        asked = {
            "seed": self.args.seed,
            "settings": self.recipe_of(row),
            "facts": found["facts"] | {"limit": self.args.limit},
        }
        other = [name for name, value in asked.items() if found[name] != value]
        if other:
            raise ConfigError(
                f"{self.scores(row)} is of other {' and '.join(other)} than asked for; give "
                "another --work, or delete it"
            )
        return True

    @property
    def _cloze(self) -> Path:
        return self.args.work / "cloze" / "cloze.train.jsonl.xz"

    def _cut_cloze(self, row: Row) -> Job:
        [texts] = read_recipe(
            RECIPES / "micro_pretrain.yaml", self.changes(row, "pretrain")
        ).data.train
        command = [sys.executable, str(HERE / "cloze_questions.py"), "--data", self.args.data]
        command += ["--texts", texts, "--out", self._cloze]
        return Job(
            row=row.name,
            what="cloze",
            command=tuple(map(str, command)),
            done=self._cloze.with_name("finished.json"),
        )

    def _folder(self, stage: str, name: str) -> Path:
        return self.args.work / stage / f"{name}-{self.args.seed}"

    def _stage(self, row: Row, stage: str, out: Path) -> Job:
        recipe = RECIPES / f"micro_{stage}.yaml"
        command = (sys.executable, "-m", "sac_rag.train", "--config", str(recipe), f"out={out}")
        return Job(
            row=row.name,
            what=stage,
            command=(*command, *self.changes(row, stage)),
            done=out / "finished.json",
        )

    def _score(self, row: Row) -> Job:
        answers = self.args.work / "answers" / f"{row.name}-{self.args.seed}"
        command = [sys.executable, str(HERE / "score.py"), "--data", self.args.data]
        command += ["--model", self.args.model, "--roads", *row.roads, "--answers", answers]
        command += ["--limit", self.args.limit, "--batch", self.args.batch]
        command += ["--out", self.args.work / "scores" / f"{row.name}-{self.args.seed}.json"]
        if row.trained:
            command += ["--adapter", self._folder("finetune", row.name) / "adapter"]
        return Job(
            row=row.name,
            what="score",
            command=tuple(map(str, command)),
            done=answers / "finished.json",
        )


def run(args: argparse.Namespace) -> int:
    """Work until all is done or the minutes are over; give the exit code."""
    table, until = Table(args), args.started + args.minutes * 60
    failed, left = [], []
    for row in rows_named(args.rows):
        try:
            if table.finished(row):
                continue
            table.check(row)
        except ConfigError as error:
            print(f"{row.name}: {error}", flush=True)
            failed.append(row.name)
            continue
        state = _work(table, row, until)
        if state == "failed":
            failed.append(row.name)
        elif state == "left":
            left.append(row.name)
    print(f"failed: {', '.join(failed) or 'none'}; waiting: {', '.join(left) or 'none'}")
    return 1 if failed else 0


def _work(table: Table, row: Row, until: float) -> str:
    state = jobs.work(table.jobs(row), until)
    if state == "done":
        _finish(table, row)
    return state


def _finish(table: Table, row: Row) -> None:
    args = table.args
    scores = json.loads((args.work / "scores" / f"{row.name}-{args.seed}.json").read_text("utf-8"))
    whole = {
        "name": row.name,
        "title": row.title,
        "group": row.group,
        "seed": args.seed,
        "settings": table.recipe_of(row),
        **scores,
    }
    path = table.scores(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def show(args: argparse.Namespace) -> int:
    """Write the table of all finished rows."""
    order = [row.name for row in ROWS]
    found = [json.loads(path.read_text("utf-8")) for path in (args.work / "rows").glob("*.json")]
    if not found:
        raise SystemExit(f"no row is finished in {args.work}; call `run` first")
    found.sort(key=lambda one: order.index(one["name"]))
    text = report.markdown(found)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
        (args.out / "table.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    working = commands.add_parser("run")
    working.add_argument("--data", type=Path, required=True)
    working.add_argument("--model", type=Path, required=True)
    working.add_argument("--work", type=Path, required=True)
    working.add_argument("--minutes", type=float, default=9.0, help="of this call")
    working.add_argument("--rows", nargs="*", default=[], help="by name; all without")
    working.add_argument("--texts", type=Path, help="instead of the recipe's, to pretrain on")
    working.add_argument("--seed", type=int, default=12345)
    working.add_argument("--limit", type=int, default=600, help="questions of each set; 0 for all")
    working.add_argument("--batch", type=int, default=128)
    working.add_argument("--pretrain", nargs="*", default=[], metavar="key=value")
    working.add_argument("--finetune", nargs="*", default=[], metavar="key=value")
    working.set_defaults(command=run, started=time.time())
    showing = commands.add_parser("show")
    showing.add_argument("--work", type=Path, required=True)
    showing.add_argument("--out", type=Path)
    showing.set_defaults(command=show)
    return parser


if __name__ == "__main__":
    asked = arguments().parse_args()
    sys.exit(asked.command(asked))
