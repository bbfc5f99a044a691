"""How a demo looks on a terminal: tables that fill while documents are encoded and answers come."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sac_rag.cli.demo.data import Question
from sac_rag.cli.demo.measure import ROADS, Compression, Run
from sac_rag.cli.demo.view import Lines, mark, total_of
from sac_rag.cli.output import count, one_line, printable, seconds, size, table


class Screen(Lines):
    """Tables that fill while documents are encoded and answers are written.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None
        self._rows: list[Compression] = []
        self._title = Text()
        self._right_answer = ""
        self._texts: dict[str, str] = {}
        self._runs: dict[str, Run] = {}

    def compressed(self, row: Compression) -> None:
        """Show one document."""
        self._rows.append(row)
        self._show(_compression_table(self._rows, total=None))

    def all_compressed(self, rows: Sequence[Compression]) -> None:
        """Show the sum of all documents."""
        self._show(_compression_table(rows, total=total_of(rows)))
        self._stop()
        self.heading("\n2. Ask, from anchors beside the full text")
        self._console.print(
            "Cold: the document is not in the store, and is encoded first. Warm: its anchors come "
            "from the store. Full context: the model reads every token, at every question.",
            style="dim",
        )

    def ask(self, number: int, total: int, question: Question) -> None:
        """Show a question before its answers."""
        self._texts, self._runs, self._right_answer = {}, {}, question.answer
        self._title = Text.assemble(
            (f"{number} of {total}  ", "dim"),
            (question.question, "bold"),
            (f"  {question.source}", "dim"),
        )
        self._console.print()
        self._show(self._question())

    def piece(self, road: str, text: str) -> None:
        """Show a piece of an answer as it comes."""
        self._texts[road] = self._texts.get(road, "") + text
        self._show(self._question())

    def answered(self, one: Run) -> None:
        """Show what an answer took."""
        self._runs[one.road] = one
        self._show(self._question())

    def end_question(self) -> None:
        """Close a question."""
        self._stop()

    def close(self) -> None:
        """Give the terminal back, whatever happened."""
        self._stop()

    def _question(self) -> Group:
        grid = table("<", *(f"<{road}" for road in ROADS), expand=True)
        for column, ratio in zip(grid.columns, (5, 8, 8, 8), strict=True):
            column.ratio = ratio
        runs = [self._runs.get(road) for road in ROADS]
        grid.add_row(Text("answer", "dim"), *(self._answer(road) for road in ROADS))
        grid.add_row(Text("first token", "dim"), *(_ttft(one) for one in runs))
        grid.add_row(Text("cache", "dim"), *(_cache(one) for one in runs))
        grid.add_row(Text("it holds", "dim"), *(_held(one) for one in runs))
        wrong = any(one and one.usage and not one.right for one in runs)
        note = Text.assemble(("the right answer: ", "dim"), self._right_answer)
        return Group(self._title, grid, *([note] if wrong else []))

    def _answer(self, road: str) -> Text:
        text = printable(one_line(self._texts.get(road, "")))
        one = self._runs.get(road)
        if one is None:
            return Text(text)
        if one.error:
            return Text(f"does not fit: {one.error}", "yellow")
        return Text(text, "bold green" if one.right else "bold red") + Text(
            f" {self._mark(one)}", "dim"
        )

    def _mark(self, one: Run) -> str:
        if not self._console.encoding.startswith("utf"):
            return mark(one)
        return "✓" if one.right else "✗"

    def _show(self, what: Group | Table) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(what, refresh=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _compression_table(rows: Sequence[Compression], *, total: Compression | None) -> Table:
    made = table(
        "<document", "tokens", "anchors", "bytes", "in full", "time", show_footer=bool(total)
    )
    for row in rows:
        made.add_row(*_cells(row))
    if total:
        for column, cell in zip(made.columns, _cells(total), strict=True):
            column.footer = cell
    return made


def _cells(row: Compression) -> tuple[str, ...]:
    return (
        row.document,
        f"{row.tokens:,}",
        f"{row.anchors:,}",
        size(row.anchor_bytes),
        size(row.full_bytes),
        seconds(row.encode_s),
    )


def _ttft(one: Run | None) -> str:
    return seconds(one.ttft_s) if one and one.usage else ""


def _cache(one: Run | None) -> str:
    return size(one.usage.cache_bytes) if one and one.usage else ""


def _held(one: Run | None) -> str:
    if one is None or one.usage is None:
        return ""
    if not one.usage.anchors:
        return count(one.usage.prompt_tokens, "token")
    return f"{count(one.usage.anchors, 'anchor')} + {one.usage.prompt_tokens}"
