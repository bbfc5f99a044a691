"""Answers on disk, one line each: written as they come, so that a killed run goes on."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from sac_rag.data.records import QARecord
from sac_rag.errors import ConfigError, DataError
from sac_rag.eval.askers import Reply

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_METHOD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def record_key(record: QARecord) -> str:
    """Hash everything about a question; equal questions share one answer."""
    written = json.dumps(asdict(record), sort_keys=True, ensure_ascii=False)
    return sha256(written.encode()).hexdigest()[:32]


class Outputs:
    """The answers of one method.

    Args:
        path: A .jsonl file; its first line says whose answers it holds.
        run: What tells this run from others, as plain JSON values.

    Raises:
        DataError: If the file holds answers of another run, or is damaged.
    """

    def __init__(self, path: Path, *, run: Mapping[str, Any]) -> None:
        self.path = path
        self._run = {"format": FORMAT_VERSION, **run}
        self.known: dict[str, Reply] = {}
        """Answers that are there already, by ``record_key``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._whole_lines() if path.exists() else []
        if lines:
            self._check_run(lines[0])
            self.known = dict(self._reply(number, line) for number, line in enumerate(lines[1:], 2))
            logger.info("%s holds %d answers, which are not asked again", path, len(self.known))
        else:
            self._append([{"run": self._run}])

    def add(
        self,
        records: Sequence[QARecord],
        replies: Sequence[Reply],
        scores: Sequence[Mapping[str, float]],
    ) -> None:
        """Write answers down, and make sure that they are on the disk."""
        lines = []
        for record, reply, score in zip(records, replies, scores, strict=True):
            key = record_key(record)
            self.known[key] = reply
            asked = {"id": record.id, "source": record.source, "question": record.question}
            answers = {"answers": list(record.answers), "prediction": reply.text}
            told = {"too_long": reply.too_long, "scores": dict(score), "usage": reply.usage}
            lines.append({"key": key, **asked, **answers, **told})
        self._append(lines)

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        with self.path.open("ab") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())

    def _whole_lines(self) -> list[bytes]:
        """Give the file's lines; what a killed run left half-written is cut off."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            logger.warning("%s ends in half a line, of a run that was stopped; cut off", self.path)
            with self.path.open("rb+") as file:
                file.truncate(whole)
        return content[:whole].splitlines()

    def _check_run(self, line: bytes) -> None:
        try:
            found = json.loads(line)["run"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.path} holds something other than answers of an evaluation; choose another "
                "output folder"
            ) from error
        if found != self._run:
            raise DataError(
                f"{self.path} holds answers of another run: {found}, this one is {self._run}; "
                "choose another output folder, or remove the file"
            )

    def _reply(self, number: int, line: bytes) -> tuple[str, Reply]:
        try:
            one = json.loads(line)
            reply = Reply(text=one["prediction"], too_long=one["too_long"], usage=one["usage"])
            return one["key"], reply
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.path}:{number} is no answer ({error}); remove the line to have it asked "
                "again, or the file to ask all again"
            ) from error


def outputs_path(folder: Path, method: str) -> Path:
    """Name a method's file.

    Raises:
        ConfigError: If the method's name is no file name.
    """
    if not _METHOD.fullmatch(method):
        raise ConfigError(
            f"the method name {method!r} cannot be a file name; use letters, digits, '.', '_', '-'"
        )
    return folder / f"{method}.jsonl"
