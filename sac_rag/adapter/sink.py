"""The attention sink: the frozen model's own BOS at position 0, before all documents.

One for all documents, never compressed or quantised. Training and answering read the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from sac_rag.adapter.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import ConfigError
from sac_rag.layout import SINK_POSITION


def read_sink(adapter: Adapter, bos_id: int | None) -> AnchorCache | None:
    """Read the sink that an adapter wants: one anchor for 0 tokens; None if it wants none.

    Args:
        adapter: Its config says whether; its frozen model reads.
        bos_id: The tokenizer's BOS; None if it has none.

    Raises:
        ConfigError: If it wants one and there is no BOS.
    """
    if not adapter.config.sink:
        return None
    if bos_id is None:
        raise ConfigError(
            "the adapter wants a BOS sink, and no BOS is known; use a tokenizer that has one, or "
            "an adapter with sink=false"
        )
    keys, values = adapter.backbone.first_key_value(bos_id)
    return AnchorCache(
        keys=keys,
        values=values,
        positions=torch.tensor([SINK_POSITION], device=keys.device),
        num_tokens=0,
        fingerprint=adapter.method.fingerprint,
    )


def behind_sink(
    sink: AnchorCache | None, documents: Sequence[AnchorCache]
) -> tuple[AnchorCache, ...]:
    """Put the sink before documents that are to be joined; nothing without one.

    It takes up no positions: the documents stand where they stand without it.
    """
    if sink is None:
        return tuple(documents)
    # of the frozen model alone, so that it goes with whatever question documents were read with
    return (replace(sink, fingerprint=documents[0].fingerprint), *documents)
