"""What surrounds the entries of a store folder: its version, and the key that signs handles."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

from sac_rag.errors import ConfigError, CorruptEntryError, StoreFormatError
from sac_rag.store.files import write_error, write_once, write_whole

FORMAT_VERSION = 1
"""Of a store folder; the entry files in it have their own."""

_KIND = "sac-rag store"
_HARMLESS = re.compile(r"\..*|lost\+found")


def open_folder(path: Path) -> None:
    """Check the version of a store folder, or make a new one, before anything else is touched.

    Raises:
        ConfigError: If ``path`` is a file.
        StoreFormatError: If it is a store of another version, or holds other things.
        StoreWriteError: If it cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"asked for a store at {path}: that is a file; give a folder")
    note = path / "format.json"
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Listed before the note is looked for: whoever makes a store writes the note first.
        names = [name for name in os.listdir(path) if not _HARMLESS.fullmatch(name)]
    except OSError as error:
        raise write_error(path, error) from error
    if note.exists():
        _check_version(note)
    elif names:
        raise StoreFormatError(
            f"{path} holds {names[0]!r} and no {note.name}: it is not a sac-rag store; give an "
            "empty folder, or one that does not exist yet"
        )
    else:
        content = json.dumps({"kind": _KIND, "version": FORMAT_VERSION}).encode()
        write_whole(note, (content,), scratch=path)


def folder_secret(path: Path) -> bytes:
    """Return the folder's 32 random bytes, made once however many processes ask first.

    Raises:
        CorruptEntryError: If the file that should hold them does not.
        StoreWriteError: If there is none and none can be written.
    """
    file = path / "handle.key"
    if file.exists():
        text = file.read_bytes()
    else:
        text = write_once(file, secrets.token_hex(32).encode(), scratch=path)
    if not re.fullmatch(rb"[0-9a-f]{64}\s*", text):
        raise CorruptEntryError(
            f"{file} should hold 64 hex digits and holds {len(text)} other bytes; put the right "
            "ones back, or delete it: handles issued so far are void then"
        )
    return bytes.fromhex(text.decode())


def _check_version(note: Path) -> None:
    try:
        found = json.loads(note.read_bytes())
        kind, version = found["kind"], found["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(
            f"{note} cannot be read as the note of a sac-rag store ({error}); give another folder"
        ) from error
    if kind != _KIND or version != FORMAT_VERSION:
        raise StoreFormatError(
            f"{note} says {kind!r} version {version!r}, this sac-rag reads {_KIND!r} version "
            f"{FORMAT_VERSION}; give another folder, or use the sac-rag that made it"
        )
