"""Measure what each codec keeps of the embedded model's answers, and in how many bytes.

    python train/embedded/bytes_table.py --out train/embedded/bytes.json

400 questions on 100 held-out documents of 300-508 tokens, the first of ``evaluate.py``'s task
``one`` among them; the basis of the PCA codecs is fitted on 50 other documents of that kind.
Bytes are those of real entry files. Two CPU cores, about five minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import evaluate
from curriculum import Coder
from transformers import AutoTokenizer

from sac_rag.bench.bytes_curve import CurvePoint, Question, bytes_curve, fixed
from sac_rag.codecs import PCACodec, fit_pca
from sac_rag.engine import SACEngine

PER_DOCUMENT = 4
"""Questions, as ``evaluate.questions`` writes them."""


def curve(
    engine: SACEngine, coder: Coder, *, documents: int, fitted_on: int, bits: Sequence[float]
) -> list[CurvePoint]:
    """Ask about documents kept with every codec, not about those that bases are fitted on."""
    written = evaluate.questions("one", coder, PER_DOCUMENT * (documents + fitted_on))
    asked = [
        Question(question=one.question, answer=one.answer, document=text)
        for [text], one in written[: PER_DOCUMENT * documents]
    ]
    others = [text for [text], _ in written[PER_DOCUMENT * documents :: PER_DOCUMENT]]
    caches = [one.cache for one in engine.compress_each([{"text": text} for text in others])]
    basis = fit_pca(caches, inv_freq=engine.inv_freq)
    codecs = {name: fixed(name) for name in ("exact", "int8", "int4")}
    for wanted in bits:
        codec = PCACodec(basis.with_bits(wanted))
        codecs[f"pca {wanted:g}"] = lambda document, codec=codec: codec
    return bytes_curve(engine, asked, codecs)


def markdown(points: Sequence[CurvePoint]) -> str:
    """Write one line a codec; the share kept is that of the first line's F1."""
    lines = [
        "| codec | bytes per token of text | of full bf16 KV | exact match | F1, and share kept |",
        "|---|---|---|---|---|",
    ]
    whole = points[0].scores["squad_f1"]
    for point in points:
        kept = f"{point.scores['squad_f1'] / whole:.1%}" if whole else "-"
        right, f1 = round(point.scores["paper_em"] * point.asked), point.scores["squad_f1"]
        lines.append(
            f"| {point.codec} | {point.bytes_per_token:.1f} | 1/{point.times_smaller:.1f} "
            f"| {right} / {point.asked} | {f1:.3f}, {kept} |"
        )
    return "\n".join(lines)


def main(args: argparse.Namespace) -> None:
    """Measure, print the table and write JSON."""
    coder = Coder(AutoTokenizer.from_pretrained(args.base))
    with SACEngine.from_pretrained(args.base, adapter=args.base / "sac-5x") as engine:
        points = curve(
            engine, coder, documents=args.documents, fitted_on=args.fitted_on, bits=args.bits
        )
    print(markdown(points))
    text = json.dumps([point.to_dict() for point in points], indent=1)
    args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=Path("sac_rag/embedded/nano"))
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--fitted-on", type=int, default=50)
    parser.add_argument("--bits", type=float, nargs="+", default=[3, 2, 1.5, 1, 0.75])
    parser.add_argument("--out", type=Path, required=True)
    main(parser.parse_args())
