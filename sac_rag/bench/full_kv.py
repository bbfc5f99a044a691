"""Full keys and values, stored per document and laid behind each other: what a user could do today.

As TurboRAG and its kin reuse a document's cache (arXiv:2410.07590), written as plainly as one
would: no compression, no checksums. Of one document the answer is the plain model's; documents
behind the first are turned to their place and do not see those before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache

from sac_rag.bench.plain import Kept, PlainModel
from sac_rag.rope import relocate_keys


class FullKV:
    """Stores and loads whole caches.

    Args:
        model: Reads the documents.
        folder: Where files go; None keeps the tensors in memory.
    """

    def __init__(self, model: PlainModel, folder: Path | None = None) -> None:
        self.model, self.folder = model, folder
        self._memory: dict[str, dict[str, Tensor]] = {}

    def save(self, name: str, token_ids: Sequence[int]) -> None:
        """Read a document once and keep everything."""
        keys, values = self.model.prefill(token_ids).tensors()
        kept = {"keys": keys.contiguous(), "values": values.contiguous()}
        if self.folder is None:
            self._memory[name] = kept
        else:
            save_file(kept, self.path(name))

    def load(self, names: Sequence[str]) -> Kept:
        """Lay documents behind each other."""
        inv_freq, device = self.model.backbone.inv_freq, self.model.backbone.device
        keys, values, start = [], [], 0
        for name in names:
            kept = load_file(self.path(name)) if self.folder else self._memory[name]
            keys_LGTK = kept["keys"].to(device)
            keys.append(
                relocate_keys(keys_LGTK, shift_A=start, inv_freq=inv_freq) if start else keys_LGTK
            )
            values.append(kept["values"].to(device))
            start += keys_LGTK.shape[2]
        cache = DynamicCache(config=self.model.backbone.config)
        pairs = zip(torch.cat(keys, dim=2), torch.cat(values, dim=2), strict=True)
        for layer, (keys_GTK, values_GTK) in enumerate(pairs):
            cache.update(keys_GTK[None], values_GTK[None], layer)
        return Kept(cache=cache, next_position=start)

    def path(self, name: str) -> Path:
        """Give a document's file."""
        assert self.folder is not None
        return self.folder / f"{name}.safetensors"
