"""All that a recipe names, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sac_rag.train.evaluation import check_evaluation, run_evaluation
from sac_rag.train.group import is_first, leave_group
from sac_rag.train.recipe_file import EVALUATE, Step
from sac_rag.train.run import run_stage


def run_steps(steps: Sequence[Step], *, show: Callable[[str], None]) -> None:
    """Train and evaluate; several processes train together, and the first evaluates.

    Args:
        steps: From ``read_steps``.
        show: Called with the adapter's folder behind a training, with the table behind an
            evaluation.

    Raises:
        SACError: See ``run_stage`` and ``run_evaluation``.
    """
    for step in steps:
        if step.stage == EVALUATE:
            check_evaluation(step.recipe)
    for step in steps:
        if step.stage != EVALUATE:
            adapter = run_stage(step.recipe)
            if is_first():
                show(str(adapter))
    leave_group()
    for step in steps:
        if step.stage == EVALUATE and is_first():
            show(run_evaluation(step.recipe).to_text())
