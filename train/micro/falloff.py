"""Why do answers get worse among many joined documents: positions, sinks, or the other texts?

    python train/micro/falloff.py --model runs/micro/model --adapter runs/sac_5x/adapter \\
        --data '../shared/data/qa/*.dev.jsonl.xz' --out runs/falloff.json

Not the answers that come out but what the right answer costs, teacher-forced, in nats a token: that
moves long before an answer does. Each question is asked about the one text that holds its answer:
alone, then with as many empty places between it and the question as other texts would take, then
with those texts. What the places cost is the positions' part; a text that stands last is as near to
the question as alone, so what that costs is the others' part. (What stands before all of it moves
nothing: positions are relative.) The decoder that reads all texts in full stands beside.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from placing import PLACES, Lengths, among, put_gold

from sac_rag.adapter import behind_sink, read_sink
from sac_rag.anchor_cache import AnchorCache, cat, join
from sac_rag.chunking import split_chunks
from sac_rag.data import Passage, QARecord, read_qa
from sac_rag.data.sources import open_sources
from sac_rag.engine import SACEngine
from sac_rag.eval import Bootstrap
from sac_rag.generation import Prompt
from sac_rag.train.objectives import predict
from sac_rag.train.samples import Sample

OTHERS = (1, 3, 7, 15)
ONCE = ("alone", "in full: alone")
"""What is the same however many others there are."""
POOL = 64
"""Texts of each file that stand beside its questions: each is compressed once."""
LONGEST = 44
"""Longer questions with their answers are left out, in tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A question among other texts."""

    record: QARecord
    """Its first document holds the answer, the others do not."""
    sample: Sample
    """Question part and answer, without documents."""

    def beside(self, others: int) -> Asked:
        """Keep so many of the other texts."""
        documents = self.record.documents[: 1 + others]
        return replace(self, record=replace(self.record, documents=documents))


class Arrangements:
    """Lays a question's text and the others out, in every way that is compared.

    Args:
        engine: Gives model, adapter and tokenizer.
    """

    def __init__(self, engine: SACEngine) -> None:
        self.adapter, self._tokens = engine.adapter, engine.tokens
        self.method, self._inv_freq = self.adapter.method, engine.inv_freq
        self._sink = read_sink(self.adapter, engine.tokens.bos_id)
        self._known: dict[Passage, AnchorCache] = {}
        separator = self.adapter.config.prompt.document_separator
        self._separator = engine.tokens.encode(separator)

    def rows(self, asked: Asked) -> dict[str, Prompt]:
        """Give prompts by name; the target is the end of each."""
        gold, *rest = map(self._anchors, asked.record.documents)
        away = sum(one.span for one in rest)
        headless = [gold, *(_without_first(one) for one in rest)]
        ways = {
            "alone": self._join([gold]),
            "alone, the question so far off": self._join([replace(gold, span=away + gold.span)]),
            **{
                place: self._join([*map(self._anchors, put_gold(asked.record, place).documents)])
                for place in PLACES
            },
            "first, without the others' first anchors": self._join(headless),
            "the others alone": self._join(rest),
        }
        task = self.method.task_embedding() if self.adapter.config.task_token else None
        return {
            name: self._prompt(asked, anchors=cache, task_embedding=task)
            for name, cache in ways.items()
        }

    def in_full(self, asked: Asked) -> dict[str, Prompt]:
        """Give prompts that hold the texts as they are."""
        gold, *rest = asked.record.documents
        ways = {place: put_gold(asked.record, place).documents for place in PLACES}
        every = {"alone": [gold], **ways, "the others alone": rest}
        return {
            f"in full: {name}": self._prompt(asked, context=self._text(documents))
            for name, documents in every.items()
        }

    def _prompt(self, asked: Asked, *, context: Sequence[int] = (), **anchors: Any) -> Prompt:
        sample = asked.sample
        return Prompt(token_ids=[*context, *sample.prompt, *sample.target][:-1], **anchors)

    def _text(self, documents: Sequence[Passage]) -> list[int]:
        seen = [self._seen(one) for one in documents]
        first, *rest = seen
        bos = 0 if self._tokens.bos_id is None else 1  # of one of them only
        return [*first, *chain.from_iterable([*self._separator, *ids[bos:]] for ids in rest)]

    def _seen(self, document: Passage) -> list[int]:
        prompt = self.adapter.config.prompt
        return prompt.seen_ids(document.text, document.title, tokens=self._tokens)

    def _join(self, caches: Sequence[AnchorCache]) -> AnchorCache:
        return join(behind_sink(self._sink, caches), inv_freq=self._inv_freq)

    def _anchors(self, document: Passage) -> AnchorCache:
        document = replace(document, gold=None)
        if document not in self._known:
            compress = self.adapter.config.compress
            chunks = split_chunks(self._seen(document), chunk_size=compress.chunk_size)
            self._known[document] = cat(self.method.compress_chunks(chunks))
        return self._known[document]


def _without_first(cache: AnchorCache) -> AnchorCache:
    """Leave out the anchor that stands for BOS and what follows it; positions stay."""
    return replace(
        cache,
        keys=cache.keys[:, :, 1:],
        values=cache.values[:, :, 1:],
        positions=cache.positions[1:],
    )


def questions(args: argparse.Namespace, engine: SACEngine) -> list[Asked]:
    """Draw questions about one text each, of every file alike, with the most others beside it."""
    draw, asked = random.Random(args.seed), []
    tokens, config = engine.tokens, engine.adapter.config
    prompt, window = config.prompt, engine.adapter.backbone.window
    lengths = Lengths(tokens=tokens, prompt=prompt, chunk_size=config.compress.chunk_size)
    for source in open_sources(args.data):
        records = [one for one in read_qa(source) if len(one.documents) == 1]
        texts = [Passage(text=one) for one in {each.documents[0].text: None for each in records}]
        draw.shuffle(records)
        texts = draw.sample(texts, k=min(POOL, len(texts)))
        with_others = (among(one, texts, count=max(args.others), seed=args.seed) for one in records)
        fitting = (
            one
            for one in with_others
            if one and lengths.needed(one, max_new_tokens=LONGEST) <= window
        )
        for record in islice(fitting, args.questions):
            ids = tokens.encode(prompt.question(record.question))
            answer = [*tokens.encode(record.answers[0]), tokens.eos_ids[0]]
            if len(ids) + len(answer) <= LONGEST:
                asked.append(
                    Asked(record=record, sample=Sample(documents=(), prompt=ids, target=answer))
                )
    if not asked:
        raise SystemExit(
            f"no question of at most {LONGEST} tokens has {max(args.others)} other texts beside it "
            f"that fit the model's {window:,} positions; give fewer --others, or other --data"
        )
    return asked


@torch.inference_mode()
def costs(
    asked: Sequence[Asked],
    make: Callable[[Asked], dict[str, Prompt]],
    arrangements: Arrangements,
    args: argparse.Namespace,
) -> dict[str, np.ndarray]:
    """Give each arrangement's costs, one a question, in nats a token of the answer."""
    found: dict[str, list[float]] = {}
    for others in args.others:
        for first in range(0, len(asked), args.batch):
            batch = asked[first : first + args.batch]
            rows = [make(one.beside(others)) for one in batch]
            for name in rows[0]:
                if name in ONCE and others != args.others[0]:
                    continue
                at = name if name in ONCE else f"{name}, {others} others"
                prompts = [row[name] for row in rows]
                losses_B = predict(arrangements.method, [one.sample for one in batch], prompts)
                found.setdefault(at, []).extend(losses_B.float().tolist())
    return {name: np.array(one) for name, one in found.items()}


def report(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Give means, and by how much each exceeds the text alone on the same road, with intervals."""
    lines = {}
    for name, one in found.items():
        alone = found["in full: alone" if name.startswith("in full") else "alone"]
        more = Bootstrap().micro(list(one - alone))
        lines[name] = {
            "nats_a_token": round(float(one.mean()), 3),
            "more_than_alone": [round(value, 3) for value in (more.value, more.low, more.high)],
            "questions": len(one),
        }
    return lines


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print and write."""
    torch.set_num_threads(args.threads)
    with SACEngine.from_pretrained(args.model, adapter=args.adapter) as engine:
        asked = questions(args, engine)
        arrangements = Arrangements(engine)
        roads = {"compressed": arrangements.rows, "full": arrangements.in_full}
        found: dict[str, np.ndarray] = {}
        for road in args.roads:
            found |= costs(asked, roads[road], arrangements, args)
    made = report(found)
    for name, line in made.items():
        more, low, high = line["more_than_alone"]
        print(f"{name:52} {line['nats_a_token']:6.3f}  {more:+.3f} ({low:+.3f} to {high:+.3f})")
    if args.out:
        args.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder, hub id or `embedded`")
    parser.add_argument("--adapter", help="the model's own without")
    parser.add_argument("--data", nargs="+", required=True, help="question files or patterns")
    parser.add_argument("--others", type=int, nargs="+", default=list(OTHERS), help="texts beside")
    parser.add_argument("--questions", type=int, default=16, help="of each file, at most")
    parser.add_argument(
        "--roads", nargs="+", choices=("compressed", "full"), default=["compressed"]
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON")
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
