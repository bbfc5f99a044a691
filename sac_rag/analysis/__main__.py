"""Look inside: gradients, t-SNE of keys and values, attention on anchors, perplexity.

python -m sac_rag.analysis tsne --data texts.jsonl --adapter sac=A --adapter 500x=B --out figures
python -m sac_rag.analysis gradients --config train/recipes/X.yaml --every 100 --out figures
"""

from __future__ import annotations

import argparse
import logging
import sys

from sac_rag.errors import SACError
from sac_rag.train.recipe import STAGES


def main(arguments: list[str] | None = None) -> int:
    """Run one analysis; give the exit code: 2 for bad input."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("sac_rag").setLevel(logging.INFO)
    try:
        from transformers.utils import logging as theirs

        from sac_rag.analysis.commands import COMMANDS

        theirs.disable_progress_bar()

        COMMANDS[asked.analysis](asked)
    except SACError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sac_rag.analysis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyses = parser.add_subparsers(dest="analysis", required=True)
    gradients = analyses.add_parser(
        "gradients", help="cosine of the autoencoding and continuation gradients over training"
    )
    gradients.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    gradients.add_argument("--config", metavar="RECIPE.yaml", help="train by this, and measure")
    gradients.add_argument(
        "--stage", choices=STAGES, default="", help="which, of a recipe of several"
    )
    gradients.add_argument("--every", type=int, default=100, help="steps between measurements")
    gradients.add_argument("--run", metavar="DIR", help="draw what a training measured before")
    gradients.add_argument("--samples", type=int, default=8, help="samples measured on")
    gradients.add_argument("--out", required=True, metavar="DIR")
    for name, told in {
        "tsne": "map of anchors' and ordinary tokens' keys and values",
        "attention": "attention on anchors while the text is read again",
        "perplexity": "perplexity of a text's second half behind its compressed first half",
    }.items():
        one = analyses.add_parser(name, help=told)
        one.add_argument("--model", default="embedded", help="folder, hub id or 'embedded'")
        one.add_argument(
            "--adapter",
            action="append",
            metavar="[NAME=]PATH",
            help="again for more methods; the embedded model brings its own",
        )
        one.add_argument("--data", action="append", required=True, metavar="FILE", help="texts")
        one.add_argument("--min-tokens", type=int, default=64, help="shortest text")
        one.add_argument("--max-tokens", type=int, default=2040, help="longest text")
        one.add_argument("--limit", type=int, default=1, help="texts at most")
        one.add_argument("--device", default="auto")
        one.add_argument("--dtype", default="auto")
        one.add_argument("--out", required=True, metavar="DIR")
        if name == "tsne":
            one.add_argument("--layers", type=int, nargs="+", default=[], help="from 0; three")
            one.add_argument("--seed", type=int, default=0, help="of the map")
        if name == "perplexity":
            one.set_defaults(limit=100)
        if name == "attention":
            one.set_defaults(max_tokens=520)  # all layers, heads and pairs of tokens are kept
            one.add_argument("--task", choices=("LM", "AE"), default="LM", help="task token")
    return parser


if __name__ == "__main__":
    sys.exit(main())
