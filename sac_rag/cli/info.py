"""``sac-rag info``: what would run, and with what."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sac_rag import __version__
from sac_rag.cli import options
from sac_rag.cli.opening import open_engine, open_existing
from sac_rag.cli.output import count, emit_json, out, size

if TYPE_CHECKING:
    from sac_rag.engine import SACEngine

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "tokenizers",
    "huggingface_hub",
    "langchain-core",
    "llama-index-core",
)


def info(
    model: options.Model = "embedded",
    adapter: options.Adapter = None,
    ratio: options.Ratio = None,
    store: options.Store = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Show versions, model, adapter, ratio, window, device and fingerprint."""
    facts: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }
    with open_engine(
        model=model, adapter=adapter, ratio=ratio, device=device, dtype=dtype
    ) as engine:
        facts |= _model_facts(engine, adapter)
    facts["store"] = _store_facts(store)
    if as_json:
        emit_json(facts)
    else:
        _show(facts)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _model_facts(engine: SACEngine, adapter: str | None) -> dict[str, Any]:
    config, backbone = engine.adapter.config, engine.adapter.backbone
    own = "its own" if engine.ratio > 1 else "none: every token is kept"
    sizes = backbone.config
    head_dim = getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads
    values = 2 * backbone.num_layers * sizes.num_key_value_heads * head_dim
    return {
        "model": engine.name,
        "model_type": config.base.model_type,
        "parameters": sum(weight.numel() for weight in backbone.causal_lm.parameters()),
        "adapter": adapter or own,
        "method": config.method,
        "ratio": engine.ratio,
        "ratios": list(engine.ratios),
        "query_aware": engine.query_aware,
        "chunk_size": config.compress.chunk_size,
        "window": engine.window,
        "bytes_per_anchor": values * backbone.dtype.itemsize,
        "device": str(backbone.device),
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "fingerprint": engine.fingerprint,
    }


def _store_facts(address: str | None) -> dict[str, Any]:
    if address is None:
        return {"address": "memory"}
    with open_existing(address) as found:
        stats = found.stats
    return {"address": address, "entries": stats.entries, "bytes": stats.nbytes}


def _show(facts: dict[str, Any]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    libraries = facts["libraries"].items()
    lines = {
        "sac-rag": f"{facts['version']} on Python {facts['python']}",
        "libraries": ", ".join(f"{name} {version}" for name, version in libraries if version),
        "model": f"{facts['model']} ({facts['model_type']}, {facts['parameters']:,} parameters)",
        "adapter": f"{facts['adapter']} ({facts['method']}{_mode(facts)})",
        "ratio": f"{count(facts['ratio'], 'token')} per anchor, chunks of {facts['chunk_size']}",
        "window": f"{facts['window']:,} tokens",
        "anchor": f"{size(facts['bytes_per_anchor'])} of keys and values",
        "device": f"{facts['device']}, {facts['dtype']}",
        "fingerprint": facts["fingerprint"],
        "store": _store_line(facts["store"]),
    }
    for name, value in lines.items():
        grid.add_row(name, value)
    out().print(grid)


def _mode(facts: dict[str, Any]) -> str:
    served = f" at {', '.join(map(str, facts['ratios']))}" if len(facts["ratios"]) > 1 else ""
    return served + (", query-aware" if facts["query_aware"] else "")


def _store_line(store: dict[str, Any]) -> str:
    if "entries" not in store:
        return store["address"]
    return f"{store['address']}, {store['entries']:,} documents, {size(store['bytes'])}"
