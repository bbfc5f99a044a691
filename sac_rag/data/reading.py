"""Read records from files, the hub or a seed: checked one by one, bad ones counted by line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from sac_rag.data.forms import BadRecordError, form_of, mrqa, to_record, to_text
from sac_rag.data.records import QARecord, TextRecord
from sac_rag.data.report import ReadReport
from sac_rag.data.sources import Source, SourceLike, open_sources
from sac_rag.errors import DataError

logger = logging.getLogger(__name__)


def read_qa(
    sources: SourceLike | Sequence[SourceLike],
    *,
    max_bad: int = 0,
    report: ReadReport | None = None,
) -> Iterator[QARecord]:
    """Read questions, source by source, in order.

    Args:
        sources: See ``open_sources``; the form of each record is told by its keys.
        max_bad: Bad records that are passed over before the data is refused.
        report: Filled with what was read and refused; brings its own ``max_bad``.

    Raises:
        DataError: If a source is missing, empty, damaged, or holds more bad records than allowed.
    """
    report = report if report is not None else ReadReport(max_bad=max_bad)
    for source in open_sources(sources):
        before = report.total
        yield from _questions(source, report)
        _note(source, report, report.total - before)


def read_texts(
    sources: SourceLike | Sequence[SourceLike],
    *,
    max_bad: int = 0,
    report: ReadReport | None = None,
) -> Iterator[TextRecord]:
    """Read plain texts, source by source, in order; arguments and errors as ``read_qa`` has them.

    Args:
        sources: Files of ``{"text"}`` records, or of documents separated by ``<|endoftext|>``.
        max_bad: Bad records that are passed over before the data is refused.
        report: Filled with what was read and refused; brings its own ``max_bad``.
    """
    report = report if report is not None else ReadReport(max_bad=max_bad)
    for source in open_sources(sources):
        before = report.total
        for row in source.rows():
            where = f"{source.name}:{row.line}"
            try:
                if row.problem:
                    raise BadRecordError(row.problem)
                record = to_text(row.value, id=f"{source.label}-{row.line}")
            except BadRecordError as error:
                report.refuse(where, str(error))
                continue
            report.read[source.label] += 1
            yield record
        _note(source, report, report.total - before)


def _questions(source: Source, report: ReadReport) -> Iterator[QARecord]:
    label = source.label
    for row in source.rows():
        where = f"{source.name}:{row.line}"
        if row.problem:
            report.refuse(where, row.problem)
            continue
        if isinstance(row.value, dict) and set(row.value) == mrqa.HEADER_KEYS:
            label = mrqa.dataset_of(row.value) or label
            continue
        try:
            plains = list(form_of(row.value)(row.value))
        except BadRecordError as error:
            report.refuse(where, str(error))
            continue
        for index, plain in enumerate(plains):
            nth = f"-{index + 1}" if len(plains) > 1 else ""
            try:
                record = to_record(plain, id=f"{source.label}-{row.line}{nth}", source=label)
            except BadRecordError as error:
                asked = f" (question {index + 1})" if len(plains) > 1 else ""
                report.refuse(where, f"{error}{asked}")
                continue
            report.read[record.source] += 1
            yield record


def _note(source: Source, report: ReadReport, good: int) -> None:
    bad = [one for one in report.bad if one.where.startswith(f"{source.name}:")]
    if not good:
        first = f": {len(bad)} bad ones, the first is {bad[0]}" if bad else ""
        raise DataError(f"{source.name} holds no good record{first}; leave it out, or mend it")
    level = logging.WARNING if bad else logging.INFO
    logger.log(level, "read %d records of %s, passed over %d", good, source.name, len(bad))
