"""Addresses of sources: ``scheme://place?key=value``, strict about keys."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import parse_qsl, urlsplit

from sac_rag.errors import DataError


def split_address(address: str, *, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Cut an address into its place and its settings.

    Args:
        address: What the user wrote.
        known: Settings that there are.

    Raises:
        DataError: If a setting is not known, or given twice.
    """
    parts = urlsplit(address)
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise DataError(f"{address}: {error}; write settings as ?key=value&key=value") from error
    settings = dict(pairs)
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise DataError(f"{address}: unknown setting {name!r}; {hint}")
    if len(settings) != len(pairs):
        raise DataError(f"{address}: a setting is given twice; leave one out")
    return (parts.netloc + parts.path).strip("/"), settings
