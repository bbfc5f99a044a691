"""Carry files to a machine without a network and back, within what a call may carry.

    python train/micro/freight.py load --work runs/freight --limit-mib 52 runs/micro/tokenizer ...
    python train/micro/freight.py unload --work runs/freight
    python train/micro/freight.py home --out "$OUT" runs/micro/base ...
    python train/micro/freight.py receive FOLDER

``load`` puts files into one tar in the order given and leaves out, by name, what goes over the
limit; a model's ``.safetensors`` are squeezed by a fifth. ``unload`` lays them where they were,
relative to the working folder, unless something newer is there. ``home`` cuts a plain tar into
parts below 15 MB with their checksums, in a tenth of a second, so that it can follow every
checkpoint; ``receive`` checks and unpacks. Only regular files below the working folder are packed
or unpacked.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import os
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

PART = 15_000_000
"""Bytes of a part, at most."""
HOME = 60_000_000
"""Bytes that come home, at most."""
MANIFEST = "manifest.json"
FREIGHT = "freight.tar"
PACKED = ".packed"
"""Ends the name of a file that is squeezed inside the freight."""
SQUEEZED = (".safetensors", ".npy")


def load(paths: Sequence[Path], work: Path, *, limit: int) -> dict[str, int]:
    """Pack files.

    Args:
        paths: Files and folders, the most needed first.
        work: Gets ``freight.tar``.
        limit: Bytes of the tar, at most.

    Returns:
        Size of each file as packed.

    Raises:
        SystemExit: If the first file alone is too large.
    """
    work.mkdir(parents=True, exist_ok=True)
    packed: dict[str, int] = {}
    total, left_out = 1024, []
    with tarfile.open(work / FREIGHT, "w") as tar:
        for path in _files(paths):
            data, name = path.read_bytes(), str(path)
            if name.endswith(SQUEEZED):
                data, name = lzma.compress(data, preset=1), name + PACKED
            size = 512 + (len(data) + 511) // 512 * 512
            if total + size > limit:
                left_out.append(f"{path} ({len(data):,} bytes)")
                continue
            total += size
            packed[str(path)] = len(data)
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), int(path.stat().st_mtime)
            tar.addfile(member, io.BytesIO(data))
    print(
        f"{len(packed)} files, {total / 2**20:.1f} MiB; left out: {', '.join(left_out) or 'none'}"
    )
    if not packed:
        raise SystemExit(f"nothing fits into {limit:,} bytes; raise --limit-mib, or name less")
    return packed


def unload(work: Path) -> list[Path]:
    """Lay the freight where it came from; what is there and as new is left alone.

    A model has the same size after every training, so times are compared: an older one that a
    former freight left is replaced, one that was trained here since is kept.
    """
    written = []
    with tarfile.open(work / FREIGHT) as tar:
        for member in tar:
            path = _safe(member)
            squeezed = path.name.endswith(PACKED)
            path = path.with_name(path.name.removesuffix(PACKED))
            if path.is_file() and path.stat().st_mtime >= member.mtime:
                continue
            source = tar.extractfile(member)
            assert source is not None
            data = source.read()
            _write(path, lzma.decompress(data) if squeezed else data)
            os.utime(path, (member.mtime, member.mtime))
            written.append(path)
    return written


def home(paths: Sequence[Path], out: Path, *, limit: int = HOME) -> list[str]:
    """Cut files into parts that may come home; give the names of those left out for size."""
    out.mkdir(parents=True, exist_ok=True)
    buffer, left_out = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in _files(paths):
            if buffer.tell() + path.stat().st_size + 20_480 > limit:
                left_out.append(str(path))
            else:
                tar.add(path, arcname=str(path), recursive=False)
    whole = buffer.getvalue()
    parts = [whole[at : at + PART] for at in range(0, len(whole), PART)]
    for index, part in enumerate(parts):
        _write(out / f"part-{index:02}", part)
    facts = {"parts": [sha256(part).hexdigest() for part in parts], "left_out": left_out}
    _write(out / MANIFEST, (json.dumps(facts) + "\n").encode())
    for stale in out.glob("part-*"):
        if int(stale.name[5:]) >= len(parts):
            stale.unlink()
    return left_out


def receive(folder: Path, to: Path) -> list[Path]:
    """Check the parts and lay their files below ``to``.

    Raises:
        SystemExit: If a part is missing, or not the one that was sent.
    """
    facts = json.loads((folder / MANIFEST).read_text("utf-8"))
    whole = b""
    for index, wanted in enumerate(facts["parts"]):
        path = folder / f"part-{index:02}"
        part = path.read_bytes() if path.is_file() else b""
        if sha256(part).hexdigest() != wanted:
            raise SystemExit(
                f"{path} is missing or of another moment than {MANIFEST}: the machine was lost "
                "while it wrote; take what came home before"
            )
        whole += part
    written = []
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        for member in tar:
            source = tar.extractfile(member)
            assert source is not None
            written.append(to / _safe(member))
            _write(written[-1], source.read())
    return written


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(one for one in sorted(path.rglob("*")) if one.is_file())
        elif path.is_file():
            found[path] = None
        else:
            raise SystemExit(f"there is no {path} to carry; make it first")
    for path in found:
        if path.is_absolute() or ".." in path.parts:
            raise SystemExit(f"{path} lies outside the working folder; copy it in first")
    return list(found)


def _safe(member: tarfile.TarInfo) -> Path:
    path = Path(member.name)
    if not member.isfile() or path.is_absolute() or ".." in path.parts:
        raise SystemExit(f"{member.name} is no plain file below the working folder; not unpacked")
    return path


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def main(args: argparse.Namespace) -> None:
    """Do what was asked."""
    if args.what == "load":
        load(args.paths, args.work, limit=int(args.limit_mib * 2**20))
    elif args.what == "unload":
        print("\n".join(map(str, unload(args.work))))
    elif args.what == "home":
        print("left out:", home(args.paths, args.out) or "none")
    else:
        print("\n".join(map(str, receive(args.paths[0], Path()))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("load", "unload", "home", "receive"))
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, default=Path("runs/freight"))
    parser.add_argument("--out", type=Path, default=Path("runs/home"))
    parser.add_argument("--limit-mib", type=float, default=52.0)
    main(parser.parse_intermixed_args())
