"""Train and evaluate: ``python -m sac_rag.train [STAGE] --config RECIPE.yaml [key=value ...]``.

Without a stage, all that the recipe names is run.
"""

from __future__ import annotations

import argparse
import logging
import sys

from sac_rag.errors import SACError
from sac_rag.train.recipe_file import WORDS, read_steps


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; give the exit code: 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m sac_rag.train", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="STAGE | key=value", help=", ".join(WORDS))
    parser.add_argument("--config", required=True, metavar="RECIPE.yaml")
    asked = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stages = [word for word in asked.words if "=" not in word]
    changes = [word for word in asked.words if "=" in word]
    if len(stages) > 1:
        parser.error(f"one stage at a time, got {' and '.join(stages)}")
    try:
        steps = read_steps(asked.config, changes, stage="".join(stages))
        from sac_rag.train.steps import run_steps

        run_steps(steps, show=print)
    except SACError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
