"""``sac-rag store fit-basis``: the basis that the codec ``pca`` needs, fitted on documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sac_rag.cli import options
from sac_rag.cli.compress import in_batches, note_skipped
from sac_rag.cli.inputs import InputDocument, find_files, read_documents
from sac_rag.cli.opening import open_engine
from sac_rag.cli.output import count, emit_json, err, out, progress, size, waiting
from sac_rag.errors import ConfigError, InputFileError

if TYPE_CHECKING:
    from sac_rag.anchor_cache import AnchorCache
    from sac_rag.codecs import PCABasis
    from sac_rag.engine import SACEngine

FEW = 3
"""Anchors for each number of a vector, below which unseen texts take more bytes than asked for."""


def fit_basis(
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders like those to be stored, a few dozen.")
    ],
    to: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write it; or a folder.")
    ],
    bits: Annotated[float, typer.Option(help="Of a number, on average, when stored.")] = 2.0,
    model: options.Model = "embedded",
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Fit the basis of the codec pca on documents, once for a model and adapter.

    sac-rag store fit-basis docs/ --out basis.safetensors; then --codec pca:basis.safetensors
    """
    if not 0 < bits <= 16:
        raise ConfigError(f"asked for {bits:g} bits a number; give more than 0, at most 16")
    found = find_files(paths)
    note_skipped(found)
    with waiting("reading ..."):
        documents = list(read_documents(found.files))
    with open_engine(
        model=model, adapter=adapter, ratio=ratio, device=device, dtype=dtype
    ) as engine:
        from sac_rag.codecs import fit_pca  # here, because it loads torch

        caches = _anchors(engine, documents)
        basis = fit_pca(caches, inv_freq=engine.inv_freq, bits=bits)
    file = _save(basis, to)
    kinds, layers, components = basis.means.shape
    anchors = sum(map(len, caches))
    if anchors < FEW * components:
        err().print(
            f"only {anchors:,} anchors for vectors of {components:,} numbers: other texts may take "
            f"more than {bits:g} bits; give documents with {FEW * components:,} or more"
        )
    keys, values = basis.kept_variance(caches)
    if as_json:
        emit_json(
            {
                "basis": str(file),
                "id": basis.id,
                "fingerprint": basis.fingerprint,
                "bits": basis.bits,
                "documents": len(documents),
                "anchors": anchors,
                "vectors": kinds * layers * anchors,
                "components": components,
                "kept_variance": {"keys": keys, "values": values},
                "bytes": file.stat().st_size,
            }
        )
        return
    console = out()
    console.print(
        f"{count(len(documents), 'document')}, {anchors:,} anchors: {kinds * layers * anchors:,} "
        f"vectors of {components:,} numbers, the keys and values of {count(layers, 'layer')}",
        soft_wrap=True,
    )
    console.print(
        f"at {bits:g} bits a number, rounding keeps {keys:.2%} of the variance of keys and "
        f"{values:.2%} of that of values",
        soft_wrap=True,
    )
    console.print(f"{size(file.stat().st_size)}; use it with --codec pca:{file}", soft_wrap=True)


def _anchors(engine: SACEngine, documents: list[InputDocument]) -> list[AnchorCache]:
    if engine.query_aware:
        raise ConfigError(
            "asked to fit a PCA basis for a query-aware adapter: every question makes it another "
            "compressor, and a basis serves one; store its anchors with int8 or int4"
        )
    caches = []
    with progress(what="compressing", total=len(documents)) as bar:
        for batch in in_batches(documents):
            made = engine.compress_each([document.mapping for document in batch])
            caches += [one.cache for one in made]
            bar.advance(bar.task_ids[0], len(batch))
    return caches


def _save(basis: PCABasis, to: str) -> Path:
    try:
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        return basis.save(to)
    except OSError as error:
        raise InputFileError(
            f"the basis cannot be written to {to} ({error}); give another --out"
        ) from error
