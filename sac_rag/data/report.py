"""What was read and what was refused, by file and line."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from sac_rag.errors import DataError

logger = logging.getLogger(__name__)

SHOWN = 5
"""Bad records that an error names, and that are warned of one by one."""


@dataclass(frozen=True, kw_only=True)
class BadRecord:
    """A record that was refused."""

    where: str
    """File and line: ``train.jsonl:12``."""
    reason: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(kw_only=True)
class ReadReport:
    """Counts of one reading; filled while records are read."""

    max_bad: int = 0
    """Bad records that are passed over before the data is refused."""
    read: Counter[str] = field(default_factory=Counter)
    """Good records by file or set."""
    bad: list[BadRecord] = field(default_factory=list)
    """Every record that was refused."""

    def refuse(self, where: str, reason: str) -> None:
        """Note a bad record.

        Raises:
            DataError: If there are more of them than ``max_bad``.
        """
        self.bad.append(BadRecord(where=where, reason=reason))
        if len(self.bad) <= self.max_bad:
            # the first ones tell what is wrong; thousands more would bury everything else
            level = logging.WARNING if len(self.bad) <= SHOWN else logging.DEBUG
            logger.log(level, "passed over a bad record, %s", self.bad[-1])
            return
        shown = "\n  ".join(str(one) for one in self.bad[-SHOWN:])
        raise DataError(
            f"found {len(self.bad)} bad record{'s' * (len(self.bad) > 1)} after {self.total} good, "
            f"and max_bad={self.max_bad} allows no more; mend it, or raise max_bad to read on "
            f"without them:\n  {shown}"
        )

    @property
    def total(self) -> int:
        """Good records in all."""
        return self.read.total()
