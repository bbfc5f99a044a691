"""Which form a record has: told by its keys, never guessed between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sac_rag.data.forms import documents, flat, mrqa, summary
from sac_rag.data.forms.plain import BadRecordError, Plain, kind

Form = Callable[[Mapping[str, Any]], Iterator[Plain]]

QA_FORMS: dict[frozenset[str], Form] = {
    flat.KEYS: flat.read,
    documents.KEYS: documents.read,
    summary.KEYS: summary.read,
    summary.LONGBENCH_KEYS: summary.read_longbench,
    summary.REPORT_KEYS: summary.read_report,
    mrqa.KEYS: mrqa.read,
}
"""Forms of questions, each by the keys that it must have."""


def form_of(record: Any) -> Form:
    """Tell a record's form.

    Raises:
        BadRecordError: If its keys fit none, or more than one.
    """
    if not isinstance(record, Mapping):
        raise BadRecordError(f"should be a record, found {kind(record)}")
    fitting = [keys for keys in QA_FORMS if keys <= set(record)]
    if len(fitting) == 1:
        return QA_FORMS[fitting[0]]
    if fitting:
        raise BadRecordError(
            f"fits {len(fitting)} forms at once ({_listed(fitting)}); leave out the keys of all "
            "but one"
        )
    raise BadRecordError(
        f"has the keys {sorted(map(str, record))} and fits no form; known are {_listed(QA_FORMS)}"
    )


def _listed(forms: Any) -> str:
    return ", ".join("{" + ", ".join(sorted(keys)) + "}" for keys in forms)
