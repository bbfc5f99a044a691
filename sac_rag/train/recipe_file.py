"""Recipes as files: YAML of one stage or of several, and ``key=value`` over it.

One stage::

    stage: finetune
    out: runs/mine
    ...

Several, run in that order. What a stage has of its own stands in a block of its name, everything
else is shared; each writes to ``<out>/<stage>`` and starts from the adapter of the one before::

    stages: [pretrain, finetune, evaluate]
    out: runs/mine
    ...
    pretrain: {objectives: {continuation: 1.0}, data: {...}}
    finetune: {objectives: {qa: 1.0}, data: {...}}
    evaluate: {data: [...]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from sac_rag.errors import ConfigError, InputFileError
from sac_rag.settings import build
from sac_rag.train.recipe import STAGES, Recipe

EVALUATE = "evaluate"
WORDS = (*STAGES, EVALUATE)
"""Stages that the command line knows."""


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    stage: str
    """``pretrain``, ``finetune`` or ``evaluate``."""
    recipe: Recipe
    """The run: to be trained, or whose adapter is asked."""


def read_steps(path: str | Path, changes: Sequence[str] = (), *, stage: str = "") -> list[Step]:
    """Read what a recipe names, in order; with ``stage`` that alone.

    Args:
        path: A YAML file.
        changes: Such as ``compress.ratio=15``; values are read as YAML. They win over the file, in
            every stage; ``finetune.steps=5`` changes one stage of a file of several.
        stage: One of ``WORDS``.

    Raises:
        InputFileError: If the file is missing or no YAML.
        ConfigError: If a setting is unknown or senseless, or the stages do not follow each other.
    """
    settings = _read(path)
    of_stages = [one for one in changes if re.split(r"[.=]", one)[0] in ("stages", *STAGES)]
    for change in of_stages:
        _apply(settings, change)
    rest = [change for change in changes if change not in of_stages]
    if "stages" not in settings:
        return [_one_step(settings, rest, stage=stage, where=str(path))]
    return _several(settings, rest, stage=stage, where=str(path))


def read_recipe(path: str | Path, changes: Sequence[str] = (), *, stage: str = "") -> Recipe:
    """Read the one run of a file, or of one stage of it; arguments and errors as ``read_steps``.

    Raises:
        ConfigError: Also if the file has several stages and none was asked for.
    """
    steps = read_steps(path, changes, stage=stage)
    if len(steps) > 1:
        named = ", ".join(step.stage for step in steps)
        raise ConfigError(f"{path} has several stages ({named}); say which one")
    return steps[0].recipe


def _read(path: str | Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise InputFileError(f"no recipe at {path}; give a YAML file of train/recipes") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} cannot be read ({error}); give a YAML file") from error
    except yaml.YAMLError as error:
        raise InputFileError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise InputFileError(
            f"{path} should hold settings, found {settings!r}; write lines such as `steps: 100`"
        )
    return settings


def _one_step(settings: dict[str, Any], changes: Sequence[str], *, stage: str, where: str) -> Step:
    for change in changes:
        _apply(settings, change)
    if stage and stage != EVALUATE:
        settings["stage"] = stage
    recipe = build(Recipe, settings, where=where)
    return Step(stage or recipe.stage, recipe)


def _several(
    settings: dict[str, Any], changes: Sequence[str], *, stage: str, where: str
) -> list[Step]:
    names = settings.pop("stages")
    _check_names(names, where=where)
    blocks = {name: settings.pop(name) or {} for name in STAGES if name in settings}
    runs: dict[str, dict[str, Any]] = {}
    earlier = ""
    for name in (one for one in names if one != EVALUATE):
        made = _laid_over(settings, blocks.get(name, {}), where=f"{where}: {name}")
        for change in changes:
            _apply(made, change)
        if "out" in made and "out" not in blocks.get(name, {}):
            made["out"] = str(Path(str(made["out"])) / name)
        if earlier:
            made.setdefault("adapter", str(Path(earlier) / "adapter"))
        earlier = str(made.get("out", ""))
        runs[name] = {**made, "stage": name}
    steps = []
    for name in [stage] if stage else names:
        run = list(runs)[-1] if name == EVALUATE else name
        if run not in runs:
            raise ConfigError(f"{where} has no stage {stage!r}; it names {', '.join(names)}")
        steps.append(Step(name, build(Recipe, runs[run], where=f"{where} ({run})")))
    return steps


def _check_names(names: Any, *, where: str) -> None:
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{where}: stages should list some of {', '.join(WORDS)}, found {names}")
    for name in names:
        if name not in WORDS:
            near = get_close_matches(str(name), WORDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(WORDS)}"
            raise ConfigError(f"{where}: unknown stage {name!r}; {hint}")
    if len(set(names)) != len(names) or EVALUATE in names[:-1] or names == [EVALUATE]:
        raise ConfigError(
            f"{where}: stages are {', '.join(names)}; name each once, {EVALUATE} last and behind "
            "the stage whose adapter it asks"
        )


def _laid_over(below: Mapping[str, Any], above: Any, *, where: str) -> dict[str, Any]:
    """Lay a stage's own settings over the shared ones; neither is changed."""
    if not isinstance(above, Mapping):
        raise ConfigError(f"{where} should hold settings, found {above!r}")
    made = deepcopy(dict(below))
    for name, value in above.items():
        lower = made.get(name)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            made[name] = _laid_over(lower, value, where=where)
        else:
            made[name] = deepcopy(value)
    return made


def _apply(settings: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise ConfigError(f"{change!r} changes nothing; write key=value, e.g. compress.ratio=15")
    *outer, last = name.split(".")
    for part in outer:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{change!r}: {part} holds {inner!r} and no settings inside it")
        settings = inner
    try:
        settings[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{change!r}: the value is not valid YAML; quote it") from error
