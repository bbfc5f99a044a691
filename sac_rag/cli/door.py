"""The way in and out: errors become one clean line, or JSON, and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from sac_rag.cli.output import emit_json, err, one_line
from sac_rag.errors import (
    AnchorNotFoundError,
    CorruptEntryError,
    EngineClosedError,
    GenerationCancelledError,
    MissingDependencyError,
    SACError,
    StoreWriteError,
)

NOT_THE_INPUT = (
    AnchorNotFoundError,
    CorruptEntryError,
    EngineClosedError,
    GenerationCancelledError,
    MissingDependencyError,
    StoreWriteError,
)
"""Errors that other words or files would not cure: exit code 1. Our others: 2, as wrong usage."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Door(TyperGroup):
    """The group of all commands; the only place that turns an error into an exit."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Run a command line and exit; see ``click.Command.main``."""
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        if debug:
            words.remove("--debug")
        more["standalone_mode"] = False
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        with _warnings_on_stderr():
            try:
                code = super().main(words, *rest, **more)
            except (KeyboardInterrupt, typer.Abort):
                code = INTERRUPTED
            except BrokenPipeError:
                # the reader (head, less) has enough; keep Python from flushing into it at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 1
            except Exception as error:
                code = _tell(error, as_json=self._speaks_json(words), debug=debug)
        if code == INTERRUPTED:
            err().print("stopped")
        sys.exit(code if isinstance(code, int) else 0)

    def _speaks_json(self, words: Sequence[str]) -> bool:
        """Say whether stdout is JSON: ``--json`` as a flag, or with ``-`` where it names a file."""
        command = next((self.commands[word] for word in words if word in self.commands), None)
        takes_file = command is not None and any(
            "--json" in one.opts and not getattr(one, "is_flag", False) for one in command.params
        )
        if not takes_file:
            return "--json" in words
        return "--json=-" in words or ("--json", "-") in pairwise(words)


def _tell(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Print what went wrong; return the exit code."""
    if debug:
        traceback.print_exception(error)
    kind, message, code = _describe(error)
    if as_json:
        emit_json({"error": kind, "message": message})
    else:
        console = err()
        console.print("error:", style="bold red", end=" ")
        console.print(message, soft_wrap=True)
    return code


def _describe(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, SACError):
        code = 1 if isinstance(error, NOT_THE_INPUT) else 2
        return type(error).__name__, one_line(str(error)), code
    if hasattr(error, "format_message"):  # click's own errors of usage
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        message = one_line(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
        return "UsageError", message[:1].lower() + message[1:] + hint, 2
    name = type(error).__name__
    message = f"{name}: {one_line(str(error))}; run it again with --debug to see where"
    return name, message, 1


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show what the library logs as warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("sac_rag")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
