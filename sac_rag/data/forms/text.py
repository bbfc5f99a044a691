"""``{"text"}`` with perhaps an ``id``: SlimPajama's rows, plain texts, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sac_rag.data.forms.plain import BadRecordError, kind, text_of
from sac_rag.data.records import TextRecord


def to_text(record: Any, *, id: str) -> TextRecord:
    """Take a text.

    Args:
        record: A mapping with the key ``text``.
        id: Its name if it has none.

    Raises:
        BadRecordError: If there is no text in it.
    """
    if not isinstance(record, Mapping) or "text" not in record:
        found = f"the keys {sorted(record)}" if isinstance(record, Mapping) else kind(record)
        raise BadRecordError(f"should be a record with the key 'text', found {found}")
    own = record.get("id")
    named = str(own) if isinstance(own, str | int) and str(own).strip() else id
    return TextRecord(id=named, text=text_of(record["text"], what="text", may_be_empty=True))
