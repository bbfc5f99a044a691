"""Datasets of the hub, streamed: SlimPajama-6B, MRQA, QMSum, GovReport and others of their forms.

    hub://DKYoon/SlimPajama-6B?split=train
    hub://mrqa-workshop/mrqa?split=validation
    hub://zai-org/LongBench?split=test&data_dir=qmsum&revision=refs/convert/parquet
    hub://ccdv/govreport-summarization?split=test

Their rows have the forms of ``sac_rag.data.forms``, as local files have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sac_rag.data.addresses import split_address
from sac_rag.data.rows import Row
from sac_rag.errors import DataError, MissingDependencyError

HUB_SCHEME = "hub"


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A split of a dataset on the hub."""

    path: str
    """``owner/name``."""
    split: str
    """``train``, ``validation``, ``test``, ..."""
    config: str | None = None
    """Its configuration, where it has several."""
    data_dir: str | None = None
    """A folder inside it, where its sets lie in folders."""
    revision: str | None = None
    """A commit or branch; pin a commit to read the same data tomorrow."""

    @classmethod
    def parse(cls, address: str) -> HubSource:
        """Read ``hub://owner/name?split=...``.

        Raises:
            DataError: If it names no dataset or no split, or an unknown setting.
        """
        known = ("split", "config", "data_dir", "revision")
        path, settings = split_address(address, known=known)
        if not path or "split" not in settings:
            raise DataError(
                f"{address} should name a dataset and a split; write for example "
                "hub://mrqa-workshop/mrqa?split=validation"
            )
        return cls(path=path, **settings)

    @property
    def name(self) -> str:
        """Its address without the details."""
        return f"hub://{self.path}?split={self.split}"

    @property
    def label(self) -> str:
        """The folder, configuration or dataset."""
        return self.data_dir or self.config or self.path.rpartition("/")[2]

    def identity(self) -> dict[str, Any]:
        """Give what was asked for."""
        return asdict(self)

    def rows(self) -> Iterator[Row]:
        """Stream its rows from the hub.

        Raises:
            DataError: If it cannot be reached or read.
            MissingDependencyError: If ``datasets`` is not installed.
        """
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError(
                f"reading {self.name} needs the library datasets; install sac-rag[train]"
            ) from error
        number = 0
        try:
            stream = datasets.load_dataset(
                self.path,
                self.config,
                split=self.split,
                data_dir=self.data_dir,
                revision=self.revision,
                streaming=True,
            )
            for number, value in enumerate(stream, start=1):
                yield Row(line=number, value=value)
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{self.name} cannot be read on after {number} records: {error}; check the name, "
                "split and connection, or give local files"
            ) from error
        if not number:
            raise DataError(f"{self.name} is empty: it holds no record; leave it out")
