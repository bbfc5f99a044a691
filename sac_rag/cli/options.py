"""Options that several commands share: one spelling and one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL = "Model"

Model = Annotated[
    str,
    typer.Option(
        help="'embedded', a folder, a hub id, or an adapter's folder that names its base.",
        rich_help_panel=_MODEL,
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        help="Folder or hub id of a SAC adapter; the embedded model brings its own.",
        rich_help_panel=_MODEL,
    ),
]
Ratio = Annotated[
    int | None,
    typer.Option(
        min=1, help="Tokens per anchor that you want; the adapter's.", rich_help_panel=_MODEL
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=_MODEL)]
Dtype = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=_MODEL)
]
Store = Annotated[
    str | None, typer.Option(metavar="DIR", help="Keep anchors in this folder; else in memory.")
]
Codec = Annotated[
    str | None,
    typer.Option(
        help="How anchors are stored: exact, bf16, fp16, int8, int4 or pca:FILE; what is stored "
        "coarser is encoded anew. Without it: new ones exact, stored ones as they are.",
        show_default=False,
    ),
]
Namespace = Annotated[str, typer.Option(help="Whose documents: separates tenants of one store.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="OUT", help="Write JSON here (- for stdout).")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")]
