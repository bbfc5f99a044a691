"""Keys at position 0, where RoPE leaves them as the model made them.

Shapes: L layers, G key/value heads, A anchors, K head dimension.
"""

from __future__ import annotations

from torch import Tensor

from sac_rag.anchor_cache import AnchorCache
from sac_rag.errors import ConfigError
from sac_rag.layout import SINK_POSITION
from sac_rag.rope import relocate_keys


def need_frequencies(inv_freq: Tensor | None, codec: str) -> Tensor:
    """Give the frequencies, (K / 2,) in radians per token, on the CPU.

    Raises:
        ConfigError: If there are none.
    """
    if inv_freq is None:
        raise ConfigError(
            f"codec {codec!r} turns keys back to position 0 and was given no frequencies; give "
            "inv_freq=engine.inv_freq"
        )
    return inv_freq.detach().cpu()


def still_keys(cache: AnchorCache, *, inv_freq: Tensor) -> Tensor:
    """Turn keys back to position 0, (L, G, A, K) float32."""
    return relocate_keys(cache.keys.float(), shift_A=-cache.positions, inv_freq=inv_freq)


def placed_keys(keys: Tensor, positions: Tensor, *, inv_freq: Tensor) -> Tensor:
    """Turn still keys to their places.

    Args:
        keys: Of all anchors but sinks, (L, G, A, K).
        positions: Of all anchors, sinks included.
        inv_freq: As in ``still_keys``.
    """
    return relocate_keys(keys, shift_A=positions[positions != SINK_POSITION], inv_freq=inv_freq)
