"""Ask every method the same questions, score the answers, and say how sure the numbers are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sac_rag.data.records import QARecord
from sac_rag.errors import ConfigError, DataError
from sac_rag.eval.askers import Asker, Reply
from sac_rag.eval.bootstrap import Bootstrap
from sac_rag.eval.metrics import QA_METRICS, Metric
from sac_rag.eval.outputs import Outputs, outputs_path, record_key
from sac_rag.eval.report import Example, MethodReport, Report

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]
"""Called with method, questions answered so far, questions in all."""


def evaluate(
    askers: Mapping[str, Asker],
    records: Iterable[QARecord],
    *,
    batch_size: int,
    max_new_tokens: int,
    metrics: Mapping[str, Metric] = QA_METRICS,
    outputs: Path | None = None,
    bootstrap: Bootstrap | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Evaluate methods on records.

    A question that does not fit a method's window counts as answered wrongly by it, and is
    counted apart: leaving it out would compare methods on different questions.

    Args:
        askers: Who answers, by the name that the table shows.
        records: Questions; equal ones are asked once and count as often as they stand there.
        batch_size: Questions answered together.
        max_new_tokens: Most tokens of an answer.
        metrics: Scores, by the name that the table shows.
        outputs: Folder for the answers, one file per method; answers there are not asked again.
        bootstrap: How the intervals are drawn.
        on_progress: Called after each batch.

    Raises:
        DataError: If there is no record, or ``outputs`` holds another run.
        ConfigError: If there is no method or metric, or the batch size is no batch size.
    """
    if batch_size < 1 or not askers or not metrics:
        raise ConfigError(
            f"asked to evaluate {len(askers)} methods by {len(metrics)} metrics with batches of "
            f"{batch_size}; give 1 or more of each"
        )
    records = list(records)
    if not records:
        raise DataError("there is no record to evaluate on; give data that holds questions")
    # every folder is checked before the first question is asked
    kept = {name: _outputs(outputs, name, asker, max_new_tokens) for name, asker in askers.items()}
    reports = {}
    for name, asker in askers.items():
        run = _Run(
            name=name,
            asker=asker,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            metrics=metrics,
            outputs=kept[name],
            on_progress=on_progress,
        )
        examples = run.examples(records)
        reports[name] = MethodReport.of(examples, bootstrap=bootstrap or Bootstrap())
    return Report(methods=reports, max_new_tokens=max_new_tokens)


def _outputs(folder: Path | None, name: str, asker: Asker, max_new_tokens: int) -> Outputs | None:
    if folder is None:
        return None
    run = {"method": name, "asker": asker.identity, "max_new_tokens": max_new_tokens}
    return Outputs(outputs_path(folder, name), run=run)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """One method's way through the questions."""

    name: str
    asker: Asker
    batch_size: int
    max_new_tokens: int
    metrics: Mapping[str, Metric]
    outputs: Outputs | None
    on_progress: OnProgress | None

    def examples(self, records: Sequence[QARecord]) -> list[Example]:
        """Answer what is not answered yet; give every record with its scores, in order."""
        keys = [record_key(record) for record in records]
        replies = dict(self.outputs.known) if self.outputs else {}
        missing = {
            key: record for key, record in zip(keys, records, strict=True) if key not in replies
        }
        # of like length, so that little of a batch is padding
        waiting = sorted(missing.values(), key=_length)
        for first in range(0, len(waiting), self.batch_size):
            batch = waiting[first : first + self.batch_size]
            answered = self.asker.ask(batch, max_new_tokens=self.max_new_tokens)
            replies |= {record_key(one): reply for one, reply in zip(batch, answered, strict=True)}
            if self.outputs:
                scores = [self._score(*pair) for pair in zip(batch, answered, strict=True)]
                self.outputs.add(batch, answered, scores)
            if self.on_progress:
                done = first + len(batch)
                self.on_progress(self.name, done, len(waiting))
        examples = [
            Example(record.source, replies[key], self._score(record, replies[key]))
            for key, record in zip(keys, records, strict=True)
        ]
        too_long = sum(one.reply.text is None for one in examples)
        if too_long:
            logger.warning(
                "%s: %d of %d questions did not fit the window and count as wrong",
                self.name,
                too_long,
                len(examples),
            )
        return examples

    def _score(self, record: QARecord, reply: Reply) -> dict[str, float]:
        if reply.text is None:
            return dict.fromkeys(self.metrics, 0.0)
        return {name: metric(reply.text, record.answers) for name, metric in self.metrics.items()}


def _length(record: QARecord) -> int:
    return sum(len(document.text) for document in record.documents)
