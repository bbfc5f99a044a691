"""Do anchors look like tokens? A map (t-SNE) of both kinds of keys and values.

The SAC paper (arXiv:2510.08907) shows SAC's anchors amid ordinary tokens and 500xCompressor's
apart from them; its protocol is not published. Here ordinary tokens are those of the same text as
the frozen decoder itself would cache them, and keys are turned back to position 0: what is compared
is what they say, not where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sac_rag.attention import causal
from sac_rag.backbone import Backbone
from sac_rag.chunking import Chunk
from sac_rag.errors import ConfigError, MissingDependencyError
from sac_rag.layout import context_positions
from sac_rag.methods import Method
from sac_rag.rope import relocate_keys

KINDS = ("keys", "values")
NEIGHBOURS = 10
"""Nearest points that ``clumping`` looks at."""
_ITERATIONS = 500
"""Of t-SNE: from principal components it has settled by then."""
_COMPONENTS = 50
"""Principal components that t-SNE starts from, as its authors advise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KVMap:
    """Maps of N points, anchors first, at some layers P; keys and values apart."""

    layers: np.ndarray
    """Which layers, counted from 0, (P,)."""
    points: np.ndarray
    """Places on the map, (P, 2, N, 2): keys then values, x and y."""
    is_anchor: np.ndarray
    """Whether a point is an anchor, (N,)."""
    clumping: np.ndarray
    """How much oftener an anchor's nearest neighbours, before any map, are anchors than by chance,
    (P, 2): 1 where they mix with tokens."""
    highest_clumping: float
    """What it is where anchors have anchors alone as neighbours."""

    def summary(self) -> dict[str, Any]:
        """Give counts, and clumping by kind and layer."""
        rows = {
            kind: {int(layer): float(one) for layer, one in zip(self.layers, column, strict=True)}
            for kind, column in zip(KINDS, self.clumping.T, strict=True)
        }
        counts = {"anchors": int(self.is_anchor.sum()), "tokens": int((~self.is_anchor).sum())}
        return {**counts, "clumping": rows, "highest_clumping": self.highest_clumping}


def kv_map(
    method: Method,
    chunks: Sequence[Chunk],
    *,
    layers: Sequence[int] = (),
    seed: int = 0,
    perplexity: float = 30.0,
) -> KVMap:
    """Compress chunks, and lay anchors and ordinary tokens out on maps.

    Args:
        method: Any method.
        chunks: What is compressed.
        layers: Which; the first, the middle and the last by default.
        seed: Of t-SNE; the same seed gives the same map.
        perplexity: t-SNE's: about how many neighbours a point has; less where points are few.

    Raises:
        MissingDependencyError: If scikit-learn is not installed.
        ConfigError: If there are too few points for a map, or a layer is not there.
    """
    count = method.backbone.num_layers
    layers = list(layers) or sorted({0, count // 2, count - 1})
    if not all(0 <= layer < count for layer in layers):
        raise ConfigError(
            f"asked for layers {layers}, the model has 0 to {count - 1}; choose from them"
        )
    with torch.no_grad():
        caches = method.compress_chunks(chunks)
        anchors = [(one.keys, one.values, one.positions) for one in caches]
        tokens = [_ordinary(method.backbone, chunk) for chunk in chunks]
    num_anchors = sum(len(positions) for *_, positions in anchors)
    flat = [_flat(anchors, method.backbone), _flat(tokens, method.backbone)]
    points_2LND = [torch.cat(pair, dim=1).numpy() for pair in zip(*flat, strict=True)]
    total = points_2LND[0].shape[1]
    if min(num_anchors, total - num_anchors) <= NEIGHBOURS:
        raise ConfigError(
            f"{num_anchors} anchors and {total - num_anchors} tokens are too few for a map; give "
            f"a text with more than {NEIGHBOURS} anchors"
        )
    is_anchor = np.arange(total) < num_anchors
    maps = [
        [_tsne(kind[layer], seed=seed, perplexity=perplexity) for kind in points_2LND]
        for layer in layers
    ]
    clumps = [[_clumping(kind[layer], is_anchor) for kind in points_2LND] for layer in layers]
    return KVMap(
        layers=np.array(layers),
        points=np.array(maps),
        is_anchor=is_anchor,
        clumping=np.array(clumps),
        highest_clumping=(total - 1) / (num_anchors - 1),
    )


def _ordinary(backbone: Backbone, chunk: Chunk) -> tuple[Tensor, Tensor, Tensor]:
    """Read a chunk as the frozen decoder does: keys, values (L, G, T, K), positions (T,)."""
    positions_T = context_positions(chunk.start, len(chunk)).to(backbone.device)
    with backbone.decoding():
        keys_BLGTK, values_BLGTK = backbone.encode(
            backbone.embed(chunk.token_ids)[None],
            positions_BT=positions_T[None],
            anchors_BA=torch.arange(len(chunk), device=backbone.device)[None],
            attention=causal,
        )
    return keys_BLGTK[0], values_BLGTK[0], positions_T


def _flat(
    parts: Sequence[tuple[Tensor, Tensor, Tensor]], backbone: Backbone
) -> tuple[Tensor, Tensor]:
    """Give one vector a point and layer, keys at position 0 and values: (L, N, G * K) each."""
    inv_freq = backbone.inv_freq
    keys = [relocate_keys(one, shift_A=-at, inv_freq=inv_freq) for one, _, at in parts]
    values = [one for _, one, _ in parts]
    keys_LGNK, values_LGNK = torch.cat(keys, dim=2), torch.cat(values, dim=2)
    return tuple(one.transpose(1, 2).flatten(2).float().cpu() for one in (keys_LGNK, values_LGNK))  # type: ignore[return-value]


def _tsne(points_ND: np.ndarray, *, seed: int, perplexity: float) -> np.ndarray:
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependencyError(
            "a map needs scikit-learn, which is not installed; pip install 'sac-rag[analysis]'"
        ) from error
    count = min(_COMPONENTS, *points_ND.shape)
    points_ND = PCA(count, svd_solver="full").fit_transform(points_ND)
    tsne = TSNE(
        perplexity=min(perplexity, (len(points_ND) - 1) / 3),
        init="pca",
        random_state=seed,
        max_iter=_ITERATIONS,
    )
    return tsne.fit_transform(points_ND)


def _clumping(points_ND: np.ndarray, is_anchor: np.ndarray) -> float:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points_ND)
    near = found.kneighbors(return_distance=False)[is_anchor]  # without the point itself
    by_chance = (is_anchor.sum() - 1) / (len(is_anchor) - 1)
    return float(is_anchor[near].mean() / by_chance)
