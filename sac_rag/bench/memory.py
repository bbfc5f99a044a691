"""How much memory a call takes at its height, and what lies in the page cache."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEMORY = Path("/proc/meminfo")
_RESET_PEAK = "5"


def peak_bytes(run: Callable[[], Any], *, device: Any = None) -> int | None:
    """Run something and give the most memory it held beyond what was held before, in bytes.

    On CUDA the allocator counts exactly. On Linux the kernel's own high-water mark of this process
    is reset and read; what earlier work left in the allocator's pools may hide a part. None where
    neither can be asked.

    Args:
        run: What is run, once.
        device: A torch device; None or a CPU counts this process.
    """
    gc.collect()
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _give_back()
    try:
        _CLEAR.write_text(_RESET_PEAK)
        before = _status("VmRSS")
    except OSError:
        run()
        return None
    run()
    return max(0, _status("VmHWM") - before)


def free_bytes(device: Any) -> int:
    """Say how much memory a torch device, or the machine, could still give, in bytes."""
    if device.type == "cuda":
        from sac_rag.engine.batching import free_cuda_bytes

        return free_cuda_bytes(device)
    try:
        lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def drop_from_cache(files: Iterable[Path]) -> bool | None:
    """Ask the system to forget files' pages, so that the next read comes from the disk.

    Returns:
        True if all are gone, False if any page stayed, None if the system cannot say.
    """
    gone: list[bool | None] = [_drop(file) for file in files]
    if None in gone:
        return None
    return all(gone)


def _drop(file: Path) -> bool | None:
    if not hasattr(os, "posix_fadvise") or not file.stat().st_size:
        return None
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # only clean pages can be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _is_out(descriptor)
    finally:
        os.close(descriptor)


def _is_out(descriptor: int) -> bool | None:
    """Tell whether no page of a file is in memory, without reading any."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        try:
            where = ctypes.c_void_p(ctypes.addressof(first))
            failed = ctypes.CDLL(None).mincore(where, ctypes.c_size_t(len(mapped)), pages)
        except (AttributeError, OSError):
            failed = -1
        finally:
            del first  # the map cannot be closed while it is pointed to
    return None if failed else not any(page & 1 for page in pages)


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} does not say {name}")


def _give_back() -> None:
    """Let the C library return what is free, where it can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
