"""The table of the embedded model: mean and spread over seeds, as Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

SCORES = {"paper_em": "paper EM", "paper_f1": "paper F1"} | {
    "squad_em": "SQuAD EM",
    "squad_f1": "SQuAD F1",
}
ROADS = {"full": "full context", "none": "none"}


def stage_facts(run: Path) -> dict[str, Any]:
    """Read what a finished stage tells of itself.

    Args:
        run: Folder of the stage.

    Returns:
        ``steps``; ``learned``: weights; ``seconds_per_step``: the median over log lines, by the
        clock; ``tokens_per_step``: that encoder and decoder read; ``loss``: the last one logged;
        ``held_out_loss`` where it was measured.
    """
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text("utf-8").splitlines()]
    logged = [line for line in lines if "tokens_per_second" in line]
    spent, before = [], {"step": 0, "tokens_seen": 0}
    for line in logged:
        tokens, steps = (line[name] - before[name] for name in ("tokens_seen", "step"))
        spent.append(tokens / line["tokens_per_second"] / steps)
        before = line
    measured = [line["eval_loss"] for line in lines if "eval_loss" in line]
    return {
        "steps": logged[-1]["step"],
        "learned": _weights(run / "adapter"),
        "seconds_per_step": statistics.median(spent),
        "tokens_per_step": logged[-1]["tokens_seen"] / logged[-1]["step"],
        "loss": logged[-1]["loss"],
        **({"held_out_loss": measured[-1]} if measured else {}),
    }


def _weights(adapter: Path) -> int:
    total = 0
    for path in sorted(adapter.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                rows = file.get_slice(name).get_shape()
                size = 1
                for one in rows:
                    size *= one
                total += size
    return total


def markdown(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Write the table of macro scores, and one for each set of the exam.

    Args:
        rows: Finished rows, those of a name behind each other.
        about: ``rate``: which learning rate was chosen from which; ``base``: losses of the base.
    """
    lines = _grouped(rows)
    first = lines[0][2][0]
    parts = [_about(about), _table("all sets, macro", lines, lambda scores: scores["macro"])]
    parts += [
        _table(name, lines, lambda scores, name=name: scores["by_source"][name])
        for name in first["by_source"]
    ]
    parts += [cost(rows)]
    return "\n\n".join(part for part in parts if part)


def _grouped(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[int], list[Mapping[str, Any]]]]:
    """Give each line's title, seeds and scores by seed."""
    found: dict[str, tuple[list[int], list[Mapping[str, Any]]]] = {}
    for row in rows:
        for road, scores in row["scores"].items():
            seeds, all_scores = found.setdefault(ROADS.get(road, row["title"]), ([], []))
            seeds.append(row["seed"])
            all_scores.append(scores)
    return [(title, *each) for title, each in found.items()]


def _table(name: str, lines: Any, pick: Any) -> str:
    asked = lines[0][2][0]["asked_by_source"]
    number = asked[name] if name in asked else sum(asked.values())
    head = ["method", "seeds", *SCORES.values()]
    table = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for title, seeds, by_seed in lines:
        cells = [spread([100 * pick(one)[score]["value"] for one in by_seed]) for score in SCORES]
        table.append("| " + " | ".join([title, str(len(seeds)), *cells]) + " |")
    return "\n".join([f"### {name} ({number} questions)", "", *table])


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Write mean and sample standard deviation; of one value, the value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def cost(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write what a step of each trained row costs; nothing without any."""
    by_title: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["stages"]:
            by_title.setdefault(row["title"], []).append(row["stages"])
    if not by_title:
        return ""
    head = ["method", "weights that learn"]
    for stage in ("pretraining", "fine-tuning"):
        head += [f"{stage}: steps", "s/step", "held-out loss"]
    table = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for title, runs in by_title.items():
        cells = [title, f"{runs[0]['finetune']['learned']:,}"]
        for stage in ("pretrain", "finetune"):
            facts = [run[stage] for run in runs]
            cells += [
                f"{facts[0]['steps']:,}",
                spread([one["seconds_per_step"] for one in facts], 2),
                spread([one["held_out_loss"] for one in facts], 3)
                if all("held_out_loss" in one for one in facts)
                else "-",
            ]
        table.append("| " + " | ".join(cells) + " |")
    return "\n".join(["### what a step costs", "", *table])


def _about(about: Mapping[str, Any]) -> str:
    words = ["Scores in percent: mean ± sample standard deviation over seeds."]
    if "rate" in about:
        tried = ", ".join(
            f"{lr}: {loss:.3f}" for lr, loss in about["rate"]["held_out_loss"].items()
        )
        words.append(
            f"Learning rate {about['rate']['chosen']:g} for all, by mean held-out loss ({tried})."
        )
    if "base" in about:
        told = about["base"]
        words.append(
            f"The base after {told['steps']} steps of prose: {told['after']['prose']:.2f} nats a "
            f"token of prose (before: {told['before']['prose']:.2f}), "
            f"{told['after']['answers']:.3f} of answers (before: {told['before']['answers']:.3f})."
        )
    return " ".join(words)
