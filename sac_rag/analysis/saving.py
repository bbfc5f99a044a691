"""Arrays and numbers of an analysis on disk: .npz, which holds no pickle, and .json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sac_rag.errors import StoreWriteError


class Result(Protocol):
    """A frozen value of arrays that can say what matters in them."""

    def summary(self) -> dict[str, Any]:
        """Give a few plain numbers."""
        ...


def _plain(value: Any) -> Any:
    """Write what is not a number as null, which JSON has."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def save(results: Mapping[str, Result], path: Path) -> None:
    """Write results by name: ``path`` with .npz for the arrays, with .json for the summaries.

    Args:
        results: Arrays are called ``NAME.FIELD`` in the file.
        path: Without an ending.

    Raises:
        StoreWriteError: If the folder cannot be written.
    """
    arrays = {
        f"{name}.{one.name}": np.asarray(getattr(result, one.name))
        for name, result in results.items()
        for one in fields(result)  # type: ignore[arg-type]
    }
    told = {name: result.summary() for name, result in results.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path.with_suffix(".npz"), allow_pickle=False, **arrays)  # type: ignore[arg-type]
        path.with_suffix(".json").write_text(
            json.dumps(_plain(told), indent=2) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise StoreWriteError(f"{path} cannot be written: {error}; give another --out") from error
