"""What a measurement ran on, told by kind: processor, cores, memory, device, versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("sac-rag", "torch", "transformers", "peft", "safetensors", "tokenizers", "kvpress")


def machine_facts(device: Any = None) -> dict[str, Any]:
    """Describe this machine without naming it.

    Args:
        device: The torch device that the model is on.
    """
    import torch

    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory(),
        "load_average": _load(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": str(device or "cpu"),
        "versions": {name: _version(name) for name in LIBRARIES},
    }
    if device is not None and device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["gpu_memory_bytes"] = torch.cuda.get_device_properties(device).total_memory
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _load() -> float | None:
    """Give the processes that wanted to run in the last minute: others' too."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
