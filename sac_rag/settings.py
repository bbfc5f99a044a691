"""Frozen settings from plain mappings and back; a name that is not known is an error that helps.

A setting that came after the first release carries ``metadata={"later": True}``: where it stands at
its default it is left out of what ``plain`` writes, so that files and hashes of before stay as they
were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, get_origin, get_type_hints

from sac_rag.errors import ConfigError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], *, where: str, inside: str = "") -> T:
    """Make a settings dataclass, and those inside it, from a mapping.

    Args:
        kind: A dataclass whose fields may be dataclasses.
        values: From JSON or YAML; lists become tuples, as does one word where a list may stand.
        where: The file, for messages.
        inside: Dotted name of the mapping itself, for messages.

    Raises:
        ConfigError: If a name is unknown (the nearest is named), one is missing, or a value is of
            the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {inside or 'the file'} should hold settings, found {values!r}")
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    prefix = f"{inside}." if inside else ""
    for name in values:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown setting {prefix}{name}; {hint}")
    hints = get_type_hints(kind)
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in values:
            raise ConfigError(f"{where}: {prefix}{name} is missing; give it")
    made = {
        name: _value(hints[name], value, where=where, name=prefix + name)
        for name, value in values.items()
    }
    return kind(**made)


def plain(settings: Any) -> dict[str, Any]:
    """Write a settings dataclass, and those inside it, as a mapping in the order of its fields."""
    written = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if not (one.metadata.get("later") and value == one.default):
            written[one.name] = plain(value) if is_dataclass(value) else value
    return written


def _value(hint: Any, value: Any, *, where: str, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where=where, inside=name)
    if get_origin(hint) is tuple:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: {name} should be a list, found {value!r}")
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and hint is float:
        return float(value)
    if hint in (int, float, str, bool) and not isinstance(value, hint):
        raise ConfigError(
            f"{where}: {name} should be {hint.__name__}, found {value!r} ({type(value).__name__})"
        )
    return value
