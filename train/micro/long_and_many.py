"""Does an adapter hold out where documents are long, and where there are many of them?

    python train/micro/long_and_many.py --data ../shared/data --model runs/micro/model \\
        --adapter runs/table/finetune/sac_5x_composed-12345/adapter --out runs/long_and_many

Three parts, each beside full context:

- ``grown``: the same questions, their document grown from 1 to 64 chunks by texts around it;
- ``natural``: summaries of meetings, by the chunks that they have;
- ``placed``: documents that hold the answer first, in the middle and last among the joined ones.

What the data folder lacks, or the model's window cannot hold, is passed over, and the report says
why. Broken off (or stopped by ``--minutes``), it goes on from the answers in ``OUT/answers``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from placing import PLACES, Lengths, among, by_length, grow, put_gold

from sac_rag.data import Passage, QARecord, read_qa, shuffled
from sac_rag.engine import SACEngine
from sac_rag.eval import QA_METRICS, ROADS, SUMMARY_METRICS, Asker, Metric, evaluate

CHUNKS = (1, 2, 3, 4, 8, 16, 32, 64)
GROWN = ("qa/nq_swap.dev", "qa/squad11_half.dev")
"""Each a question, a paragraph, an answer; of the first, the answer stands nowhere but there."""
NATURAL = ("summ/qmsum_span.dev", "summ/qmsum.dev")
PLACED = ("rag/nq_multidoc10_built.train", "rag/2wikimultihop.dev", "rag/musique.train")
"""Their data says which documents hold the answer. The questions of the first are trained on
(1,944 of 1,984 stand in nq_open_gold.train too): compare its places, not its scores."""
BESIDE = (3, 9)
"""Texts of other questions that are joined to one of ``GROWN``, for ``placed``."""
NEW_TOKENS, SUMMARY_TOKENS = 32, 128
SHOWN = {"squad_f1": "SQuAD F1", "squad_em": "SQuAD EM", "rouge_1": "ROUGE-1", "rouge_l": "ROUGE-L"}
"""Scores of the table; the JSON holds all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """Questions that are asked together: one line of the report."""

    part: str
    """``grown``, ``natural`` or ``placed``."""
    set: str
    """Where the questions are from."""
    at: str
    """How long, or where."""
    records: Sequence[QARecord] = ()
    """Empty if there is a reason not to ask."""
    why: str = ""
    """That reason."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Questions that are not asked, by reason."""


class Questions:
    """Makes the cells.

    Args:
        args: As the command line gives them.
        lengths: Counts tokens.
        window: Positions that the model has.
    """

    def __init__(self, args: argparse.Namespace, *, lengths: Lengths, window: int) -> None:
        self._args, self._lengths, self._window = args, lengths, window

    def cells(self) -> Iterator[Cell]:
        """Give all cells, in the order in which they are asked."""
        parts = {"grown": (GROWN, self._grown), "placed": (GROWN, self._beside)}
        tasks = [
            *((part, name, make) for part, (names, make) in parts.items() for name in names),
            *(("placed", name, self._placed) for name in PLACED),
            *(("natural", name, self._natural) for name in NATURAL),
        ]
        for part, name, make in tasks:
            path = self._args.data / f"{name}.jsonl.xz"
            if not path.is_file():
                yield Cell(part=part, set=name, at="-", why=f"there is no {path}")
                continue
            records = list(read_qa(path))
            # neighbours are often about one text
            order = shuffled(len(records), seed=self._args.seed)
            yield from map(self._fitting, make(name, [records[index] for index in order]))

    def _grown(self, name: str, records: list[QARecord]) -> Iterator[Cell]:
        others, lengths = _texts(records), self._lengths
        count = cache(lengths.tokens.count)  # each stands around many questions
        make = partial(grow, others=others, lengths=lengths, count=count, seed=self._args.seed)
        # asked at every length are those that can be grown to the longest that the window holds
        held = [n for n in self._args.chunks if (n - 1) * lengths.chunk_size < self._window]
        longest = max(held, default=0)
        alone = (one for one in records if len(one.documents) == 1)
        able = (one for one in alone if longest and make(one, chunks=longest))
        chosen = list(islice(able, self._args.limit or None))
        for n in self._args.chunks:
            if n not in held:
                yield self._beyond(Cell(part="grown", set=name, at=str(n)), n)
                continue
            made = [grown for one in chosen if (grown := make(one, chunks=n))]
            yield Cell(
                part="grown",
                set=name,
                at=str(n),
                records=made,
                left_out={"not of this length": len(chosen) - len(made)},
                why="" if made else f"too few texts to grow any document to {n} chunks",
            )

    def _beside(self, name: str, records: list[QARecord]) -> Iterator[Cell]:
        others = _texts(records)
        alone = [one for one in records if len(one.documents) == 1]
        for count in self._args.beside:
            joined = (among(one, others, count=count, seed=self._args.seed) for one in alone)
            made = list(islice(filter(None, joined), self._args.limit or None))
            yield from self._at_places(f"{name} and {count} others", made)

    def _placed(self, name: str, records: list[QARecord]) -> Iterator[Cell]:
        told = [
            one for one in records if {bool(each.gold) for each in one.documents} == {True, False}
        ]
        yield from self._at_places(name, told[: self._args.limit or None])

    def _at_places(self, name: str, records: list[QARecord]) -> Iterator[Cell]:
        for place in PLACES:
            yield Cell(
                part="placed",
                set=name,
                at=place,
                records=[put_gold(one, place) for one in records],
                why="" if records else "no question has documents with and without the answer",
            )

    def _natural(self, name: str, records: list[QARecord]) -> Iterator[Cell]:
        for at, part in by_length(records, self._lengths, self._args.chunks).items():
            yield Cell(part="natural", set=name, at=at, records=part[: self._args.limit or None])

    def _fitting(self, cell: Cell) -> Cell:
        """Leave out what the window cannot hold, on every road alike."""
        new = _new_tokens(cell)
        needed = [self._lengths.needed(one, max_new_tokens=new) for one in cell.records]
        pairs = zip(cell.records, needed, strict=True)
        fitting = [one for one, size in pairs if size <= self._window]
        if cell.records and not fitting:
            return self._beyond(cell, -(-min(needed) // self._lengths.chunk_size))
        left_out = {**cell.left_out, "longer than the window": len(needed) - len(fitting)}
        return _with(cell, records=fitting, left_out={k: v for k, v in left_out.items() if v})

    def _beyond(self, cell: Cell, chunks: int) -> Cell:
        size = self._lengths.chunk_size
        return _with(
            cell,
            records=(),
            why=f"{chunks} chunks of {size} tokens with question and answer do not fit the "
            f"model's {self._window:,} positions",
        )


def _with(cell: Cell, **changes: Any) -> Cell:
    return Cell(**{**vars(cell), **changes})


def _texts(records: Sequence[QARecord]) -> list[Passage]:
    """Gather all texts once."""
    return list({one.text: one for record in records for one in record.documents}.values())


def _new_tokens(cell: Cell) -> int:
    return SUMMARY_TOKENS if cell.part == "natural" else NEW_TOKENS


def ask(cell: Cell, askers: Mapping[str, Asker], args: argparse.Namespace) -> dict[str, Any]:
    """Ask a cell's questions on every road; give its line of the report."""
    metrics: Mapping[str, Metric] = SUMMARY_METRICS if cell.part == "natural" else QA_METRICS
    found = evaluate(
        askers,
        cell.records,
        batch_size=args.batch,
        max_new_tokens=_new_tokens(cell),
        metrics=metrics,
        outputs=args.out / "answers" / cell.part / cell.set.replace("/", "_") / cell.at,
    )
    methods = {name: asdict(one) for name, one in found.methods.items()}
    return {**_head(cell), "left_out": dict(cell.left_out), "methods": methods}


def markdown(report: Mapping[str, Any]) -> str:
    """Write a table of each part and set, and what was passed over."""
    lines: list[str] = []
    before = None
    for line in report["asked"]:
        scores = next(iter(line["methods"].values()))["micro"]
        shown = [name for name in SHOWN if name in scores]
        if (line["part"], line["set"]) != before:
            before = (line["part"], line["set"])
            heads = ["at", "road", "asked", "left out", "anchors", *(SHOWN[name] for name in shown)]
            lines += ["", f"### {line['part']}: {line['set']}", ""]
            lines += ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
        left_out = f"{sum(line['left_out'].values()):,}"
        for road, one in line["methods"].items():
            anchors = one["mean_counts"].get("anchors", 0)
            cells = [line["at"], road, f"{one['asked']:,}", left_out, f"{anchors:,.0f}"]
            lines.append(
                "| " + " | ".join([*cells, *(_percent(one["micro"][n]) for n in shown)]) + " |"
            )
    if report["passed_over"]:
        lines += ["", "### passed over", ""]
        lines += [
            f"- {one['part']}: {one['set']} at {one['at']}: {one['why']}"
            for one in report["passed_over"]
        ]
    return "\n".join(lines).strip()


def _percent(interval: Mapping[str, float]) -> str:
    return "{value:.1f} [{low:.1f}, {high:.1f}]".format(
        **{name: 100 * interval[name] for name in ("value", "low", "high")}
    )


def _head(cell: Cell) -> dict[str, str]:
    return {"part": cell.part, "set": cell.set, "at": cell.at}


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Ask all cells within the minutes; write ``report.json`` and ``report.md`` after each."""
    until = time.monotonic() + args.minutes * 60 if args.minutes else float("inf")
    report: dict[str, Any] = {"facts": {}, "asked": [], "passed_over": []}
    with SACEngine.from_pretrained(args.model, adapter=args.adapter) as engine:
        report["facts"] = {"ratio": engine.ratio, "limit": args.limit, "seed": args.seed}
        config = engine.adapter.config
        lengths = Lengths(
            tokens=engine.tokens, prompt=config.prompt, chunk_size=config.compress.chunk_size
        )
        questions = Questions(args, lengths=lengths, window=engine.adapter.backbone.window)
        askers = {road: ROADS[road](engine) for road in args.roads}
        for cell in questions.cells():
            if not cell.records:
                report["passed_over"].append({**_head(cell), "why": cell.why})
            elif time.monotonic() >= until:
                why = "waiting: the minutes are over"
                report["passed_over"].append({**_head(cell), "why": why})
            else:
                report["asked"].append(ask(cell, askers, args))
                _write(report, args.report or args.out)
                print(f"{cell.part}: {cell.set} at {cell.at}: {len(cell.records)}", flush=True)
    _write(report, args.report or args.out)
    print(markdown(report))
    return report


def _write(report: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"report.json": json.dumps(report, indent=1), "report.md": markdown(report)}
    for name, text in texts.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(folder / name)


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folder, hub id or `embedded`")
    parser.add_argument("--adapter", help="the model's own without")
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=["compressed", "full"])
    parser.add_argument("--chunks", type=int, nargs="+", default=list(CHUNKS), help="ascending")
    parser.add_argument("--beside", type=int, nargs="+", default=list(BESIDE), help="texts joined")
    parser.add_argument("--limit", type=int, default=200, help="questions a line; 0 for all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=0.0, help="of this call; 0 for no end")
    parser.add_argument("--seed", type=int, default=0, help="of the texts around a question")
    parser.add_argument("--out", type=Path, required=True, help="folder of the answers")
    parser.add_argument("--report", type=Path, help="folder of the report; OUT without")
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
