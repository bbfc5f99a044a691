"""All measurements by name, and a run of some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial

from sac_rag.bench.decoding import measure_decoding
from sac_rag.bench.encoder import measure_encoder
from sac_rag.bench.equal_bytes import measure_equal_bytes
from sac_rag.bench.first_token import measure_first_token
from sac_rag.bench.growth import measure_growth
from sac_rag.bench.machine import machine_facts
from sac_rag.bench.report import BenchReport
from sac_rag.bench.results import Section
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.bench.storing import measure_storing
from sac_rag.data import QARecord
from sac_rag.errors import ConfigError

Measure = Callable[[Subject, Settings], Section]

EQUAL_BYTES = "equal-bytes"

MEASUREMENTS: dict[str, Measure] = {
    "encoder": measure_encoder,
    "first-token": measure_first_token,
    "decoding": measure_decoding,
    "store": measure_storing,
    "growth": measure_growth,
    EQUAL_BYTES: measure_equal_bytes,
}
"""The one place where a measurement is added."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What ``equal-bytes`` needs beyond a subject."""

    records: Sequence[QARecord] | None = None
    """Questions; None for those of the embedded model."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Other adapters for the same base, by name."""
    study: Sequence[QARecord] = ()
    """Questions that a cartridge may study, none of those asked."""


def run_bench(
    names: Sequence[str],
    subject: Subject,
    settings: Settings,
    *,
    comparison: Comparison | None = None,
    command: str = "",
    quick: bool = False,
    on_done: Callable[[str], None] | None = None,
) -> BenchReport:
    """Run measurements one after another.

    Args:
        names: Of ``MEASUREMENTS``; none for all that the subject allows.
        subject: What is measured.
        settings: Sizes and repetitions.
        comparison: For ``equal-bytes``.
        command: As it was given, for the report.
        quick: Whether the settings are those of a quick look.
        on_done: Told the name of each measurement that is done.

    Raises:
        ConfigError: If a name is not known.
    """
    comparison = comparison or Comparison()
    machine = machine_facts(subject.backbone.device)
    sections = []
    for name in names or list(MEASUREMENTS):
        if not names and name == EQUAL_BYTES and not subject.trained:
            sections.append(_skipped(subject))
        else:
            sections.append(_measure(name, comparison)(subject, settings))
        if on_done:
            on_done(name)
    return BenchReport(
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        quick=quick,
        machine=machine,
        subject=_facts(subject),
        settings=asdict(settings),
        sections=sections,
    )


def check_names(names: Sequence[str]) -> None:
    """Refuse names of no measurement.

    Raises:
        ConfigError: If there is one.
    """
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise ConfigError(
            f"no measurement is called {', '.join(unknown)}; choose from {', '.join(MEASUREMENTS)}"
        )


def _measure(name: str, comparison: Comparison) -> Measure:
    check_names([name])
    if name == EQUAL_BYTES:
        return partial(
            measure_equal_bytes,
            records=comparison.records,
            adapters=comparison.adapters,
            study=comparison.study,
        )
    return MEASUREMENTS[name]


def _skipped(subject: Subject) -> Section:
    reason = f"answers of {subject.name} are noise: {subject.note}"
    return Section(name=EQUAL_BYTES, title="Answers at equal bytes", rows=[], not_run=[reason])


def _facts(subject: Subject) -> dict[str, object]:
    backbone, config = subject.backbone, subject.loaded.adapter.config
    return {
        "name": subject.name,
        "note": subject.note,
        "trained": subject.trained,
        "method": config.method,
        "ratio": config.compress.ratio,
        "chunk_size": config.compress.chunk_size,
        "layers": backbone.num_layers,
        "token_bytes": subject.token_bytes,
        "value_bytes": backbone.dtype.itemsize,
        "window": backbone.window,
        "parameters": sum(weight.numel() for weight in backbone.causal_lm.parameters()),
        "dtype": str(backbone.dtype).removeprefix("torch."),
    }
