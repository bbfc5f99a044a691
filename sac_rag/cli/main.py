"""The command ``sac-rag``: its commands, and nothing of what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from sac_rag import __version__
from sac_rag.cli.ask import SETTINGS as ASK_SETTINGS
from sac_rag.cli.ask import ask
from sac_rag.cli.bench import bench
from sac_rag.cli.compress import compress
from sac_rag.cli.demo.command import demo
from sac_rag.cli.door import Door
from sac_rag.cli.evaluate import eval_
from sac_rag.cli.import_checkpoint import import_checkpoint
from sac_rag.cli.info import info
from sac_rag.cli.plan import plan
from sac_rag.cli.store import store

COMMANDS: dict[Callable[..., None], dict[str, Any]] = {
    compress: {},
    ask: ASK_SETTINGS,
    demo: {},
    info: {},
    import_checkpoint: {},
    eval_: {},
    bench: {},
    plan: {},
}
"""The one place where a command is added: a function in a module of its own, typer's settings."""

app = typer.Typer(
    cls=Door,
    help="Compress documents once into small, reusable KV caches, and answer from them.",
    epilog="Begin with: sac-rag demo",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command, _settings in COMMANDS.items():
    app.command(_command.__name__.strip("_").replace("_", "-"), **_settings)(_command)
app.add_typer(store, name="store")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sac-rag {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (any command).")
    ] = False,
) -> None:
    # --debug was taken out by the door, which knows it from any place; here it is for the help
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Run ``sac-rag`` with the arguments of this process."""
    app(prog_name="sac-rag")
