"""Open an engine for a command: quietly, with a word on stderr, and with errors that help."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sac_rag.cli.output import count, err, one_line, waiting
from sac_rag.codecs.names import EXACT, check_codec_name
from sac_rag.errors import ConfigError, InputFileError, SACError

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine
    from sac_rag.store import AnchorStore


def open_engine(
    *,
    model: str,
    adapter: str | None,
    ratio: int | None,
    device: str,
    dtype: str,
    store: str | Path | None = None,
    namespace: str = "default",
    codec: str | None = None,
) -> SACEngine:
    """Load an engine, see ``SACEngine.from_pretrained``; torch is imported here.

    Without a codec, stored anchors are taken whatever wrote them.

    Raises:
        ConfigError: If there is no such model or codec, or the device cannot hold it.
    """
    if codec is not None:
        check_codec_name(codec)
    with loading(model, device=device):
        from sac_rag.engine import SACEngine
        from sac_rag.store import open_store

        opened = open_store(
            store,
            namespace=namespace,
            codec=EXACT if codec is None else codec,
            min_bits=0 if codec is None else None,
        )
        return SACEngine.from_pretrained(
            model,
            adapter=adapter,
            ratio=ratio,
            store=opened,
            device=device,
            dtype=dtype,
            namespace=namespace,
        )


@contextmanager
def loading(model: str, *, device: str) -> Iterator[None]:
    """Load a model: a word on stderr, nothing that the libraries would say, and clear errors."""
    with (
        waiting(f"loading {model} ..."),
        model_errors(model, device=device),
        warnings.catch_warnings(),
    ):
        # the libraries tell each other what will change; a user can do nothing about it
        warnings.simplefilter("ignore", FutureWarning)
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield


def note_lossy(hits: int) -> None:
    """Say on stderr how many stored documents a lossy codec had written, if any."""
    if hits:
        err().print(f"{count(hits, 'document')} from anchors stored by a lossy codec", style="dim")


@contextmanager
def model_errors(model: str, *, device: str = "auto") -> Iterator[None]:
    """Turn what the libraries raise for a model they cannot load into one clear error."""
    try:
        yield
    except SACError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = one_line(str(error).strip().partition("\n")[0]).rstrip(".")
        raise ConfigError(
            f"the model {model!r} cannot be loaded (device {device}): {reason}; give 'embedded', "
            "a folder with config.json and weights, or a hub id that you have access to"
        ) from error


def open_existing(address: str) -> AnchorStore:
    """Open a store that must be there already: a look at a store makes none.

    Raises:
        InputFileError: If there is none.
    """
    from sac_rag.store import open_store

    if "://" not in address:
        folder = Path(address).expanduser()
        if not address.strip() or not folder.exists():
            raise InputFileError(
                f"asked for the store at {address!r}: there is nothing; give the folder that "
                "`sac-rag compress --store` wrote"
            )
        if folder.is_dir() and not any(folder.iterdir()):
            raise InputFileError(
                f"asked for the store at {address!r}: the folder is empty; give the folder that "
                "`sac-rag compress --store` wrote"
            )
    return open_store(address)
