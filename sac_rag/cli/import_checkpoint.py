"""``sac-rag import-checkpoint``: the authors' released adapter.pt into an adapter folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.opening import model_errors
from sac_rag.cli.output import emit_json, out, waiting


def import_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="The released adapter.pt.")],
    base: Annotated[str, typer.Option(help="Folder or hub id of the base model it is for.")],
    ratio: Annotated[int, typer.Option(min=1, help="Tokens per anchor it was trained for.")],
    to: Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to write.")],
    chunk_size: Annotated[int, typer.Option(min=1, help="Tokens per chunk it had.")] = 510,
    as_json: options.Json = False,
) -> None:
    """Import a checkpoint that SAC's authors released; only tensors are read from it."""
    with waiting("importing ..."), model_errors(base):
        from sac_rag.adapter import import_checkpoint as convert

        config = convert(checkpoint, base=base, ratio=ratio, out=to, chunk_size=chunk_size)
    if as_json:
        emit_json({"out": to, "config": asdict(config)})
        return
    console = out()
    console.print(f"wrote the adapter to {to}", soft_wrap=True)
    console.print(f"use it: --model {base} --adapter {to}", soft_wrap=True)
