"""Count answers that hold a reference, from the answers that ``sac-rag eval --out`` kept.

    python train/smollm2/contains.py runs/smol/answers

A chat model that reads the text in full answers in sentences, an adapter in the words that it was
trained on: exact match and F1 then compare manners. Holding the reference is asked of both alike
(yes and no, which a sentence holds by chance, are left out). Both texts are normalised as SQuAD's
scorer does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sac_rag.eval.metrics import normalise


def holds(prediction: str, references: Iterable[str]) -> bool:
    """Say whether any reference stands in an answer, as whole words."""
    said = f" {normalise(prediction)} "
    return any(f" {normalise(one)} " in said for one in references if normalise(one))


def share(path: Path) -> dict[str, Any]:
    """Read one method's answers; give how many there are and the share that hold a reference."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    asked = [row for row in rows if not {"yes", "no"} & {a.lower() for a in row["answers"]}]
    right = sum(holds(row["prediction"], row["answers"]) for row in asked)
    return {"asked": len(asked), "holds_reference": round(right / max(1, len(asked)), 3)}


def measure(folder: Path) -> dict[str, dict[str, Any]]:
    """Give ``share`` of every method in a folder."""
    return {path.stem: share(path) for path in sorted(folder.glob("*.jsonl"))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("answers", type=Path, help="what `sac-rag eval --out` wrote")
    print(json.dumps(measure(parser.parse_args().answers), indent=2))
