"""The folder of an adapter: found or downloaded, whole, and its embeddings read."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from safetensors.torch import load_file

from sac_rag.errors import CheckpointFormatError
from sac_rag.methods import Method

EMBEDDINGS_FILE = "sac_embeddings.safetensors"
FILES = ("adapter_config.json", "adapter_model.safetensors", "sac_config.json", EMBEDDINGS_FILE)


def fetch_adapter(path_or_id: str | Path, *, local_files_only: bool | None = None) -> Path:
    """Find an adapter's folder: as given, or downloaded from the hub.

    Raises:
        CheckpointFormatError: If a file of it is missing.
    """
    folder = Path(path_or_id)
    if not folder.is_dir():
        if folder.is_absolute() or str(path_or_id).startswith("."):
            raise CheckpointFormatError(
                f"no adapter folder at {path_or_id}; give the folder that `save_pretrained` wrote"
            )
        folder = Path(
            snapshot_download(
                str(path_or_id),
                allow_patterns=list(FILES),
                local_files_only=bool(local_files_only),
            )
        )
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointFormatError(
            f"the adapter in {path_or_id} lacks {', '.join(missing)}; give the folder that "
            "`save_pretrained` wrote, or import a released checkpoint with "
            "`sac-rag import-checkpoint`"
        )
    return folder


def fill_embeddings(method: Method, folder: Path) -> None:
    """Fill a method's embeddings from an adapter's folder.

    Raises:
        CheckpointFormatError: If they are not of the method's shapes.
    """
    path = folder / EMBEDDINGS_FILE
    stored = load_file(path)
    for name, wanted in method.state_dict().items():
        found = stored.get(name)
        if found is None or found.shape != wanted.shape:
            shape = None if found is None else tuple(found.shape)
            raise CheckpointFormatError(
                f"{path}: {name} should have shape {tuple(wanted.shape)}, found {shape}; "
                "the embeddings do not fit the ratio and chunk size of sac_config.json"
            )
    method.load_state_dict(stored)
