"""How a demo looks where output goes to a file: lines, each printed when it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sac_rag.cli.demo.data import Question
from sac_rag.cli.demo.measure import ROADS, Compression, Run, Summary
from sac_rag.cli.output import count, one_line, printable, seconds, size, table

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine


class View:
    """Shows nothing; what the others build on."""

    def begin(self, engine: SACEngine, *, num_documents: int) -> None:
        """Say what runs."""

    def compressed(self, row: Compression) -> None:
        """Show one document."""

    def all_compressed(self, rows: Sequence[Compression]) -> None:
        """Show the sum of all documents."""

    def ask(self, number: int, total: int, question: Question) -> None:
        """Show a question before its answers."""

    def piece(self, road: str, text: str) -> None:
        """Show a piece of an answer as it comes."""

    def answered(self, one: Run) -> None:
        """Show what an answer took."""

    def end_question(self) -> None:
        """Close a question."""

    def end(self, summary: Summary) -> None:
        """Show all questions together."""

    def close(self) -> None:
        """Give the terminal back, whatever happened."""


class Bar(View):
    """Shows only how far it is.

    Args:
        bar: With one task: a step for each document, and each answer.
    """

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def compressed(self, row: Compression) -> None:
        """Count a document."""
        self._bar.advance(self._bar.task_ids[0])

    def answered(self, one: Run) -> None:
        """Count an answer."""
        self._bar.advance(self._bar.task_ids[0])


class Lines(View):
    """Plain lines, each printed when it is known.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, engine: SACEngine, *, num_documents: int) -> None:
        """Say what runs."""
        device = engine.adapter.backbone.device
        self.heading(
            f"sac-rag demo: model {engine.name}, {engine.ratio} tokens per anchor, {device}"
        )
        self.heading(f"\n1. Compress {count(num_documents, 'document')}, once")

    def compressed(self, row: Compression) -> None:
        """Show one document."""
        self._print(
            f"{row.document}: {row.tokens:,} tokens -> {row.anchors:,} anchors, "
            f"{size(row.anchor_bytes)} instead of {size(row.full_bytes)}, {seconds(row.encode_s)}"
        )

    def all_compressed(self, rows: Sequence[Compression]) -> None:
        """Show the sum of all documents."""
        self.compressed(total_of(rows))
        self.heading("\n2. Ask, from anchors beside the full text")
        self._print(
            "cold: the document is not in the store, and is encoded first; warm: its anchors\n"
            "come from the store; full context: the model reads every token, at every question"
        )

    def ask(self, number: int, total: int, question: Question) -> None:
        """Show a question before its answers."""
        self._print(f"\n{number} of {total}. {question.question} ({question.source})")
        self._print(f"  {'right answer':13}  {'':5}  {'':8}  {'':8}  {question.answer}")

    def answered(self, one: Run) -> None:
        """Show what an answer took."""
        if one.usage is None:
            self._print(f"  {one.road:13}  does not fit: {one.error}")
            return
        self._print(
            f"  {one.road:13}  {mark(one):5}  {seconds(one.ttft_s):>8}  "
            f"{size(one.usage.cache_bytes):>8}  {printable(one_line(one.text))}"
        )

    def end(self, summary: Summary) -> None:
        """Show all questions together."""
        self.heading("\n3. In short")
        self._console.print(_summary_table(summary))
        self._print("")
        for line in _conclusions(summary):
            self._print(line)

    def heading(self, text: str) -> None:
        """Print a line that stands out."""
        self._console.print(text, style="bold", soft_wrap=True)

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def total_of(rows: Sequence[Compression]) -> Compression:
    """Add up documents."""
    return Compression(
        document="all",
        tokens=sum(row.tokens for row in rows),
        anchors=sum(row.anchors for row in rows),
        anchor_bytes=sum(row.anchor_bytes for row in rows),
        full_bytes=sum(row.full_bytes for row in rows),
        encode_s=sum(row.encode_s for row in rows),
    )


def _summary_table(summary: Summary) -> Table:
    made = table("<", *ROADS)
    made.add_row(
        "right answers", *(f"{summary.right[road]} of {summary.questions}" for road in ROADS)
    )
    times = [summary.median_ttft_s[road] for road in ROADS]
    made.add_row("first token, median", *("-" if at is None else seconds(at) for at in times))
    made.add_row("cache, all questions", *(size(summary.cache_bytes[road]) for road in ROADS))
    return made


def _conclusions(summary: Summary) -> list[str]:
    lines = []
    if summary.bytes_ratio:
        lines.append(f"The cache is {summary.bytes_ratio:.1f} times smaller from anchors.")
    if summary.speedup:
        share = 1 / summary.speedup
        lines.append(
            f"From the store, the first token takes {share:.0%} of the time it takes in full."
        )
    lines.append('Next: sac-rag ask "Your question?" --docs YOUR_FOLDER --store anchors/')
    return lines


def mark(one: Run) -> str:
    """Say whether an answer is right."""
    return "right" if one.right else "wrong"
