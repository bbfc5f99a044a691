"""Many rows behind one context: what a step of decoding costs in a batch.

The context is laid out once for each row, as separate requests would have it, and the same loop
decodes behind anchors and behind full keys and values. Nothing is read in full for each row: a
prefill of 32 contexts of 32k tokens does not fit on a card.

Shapes: L layers, G key/value heads, A cached places, K head dimension, N rows, T tokens.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from sac_rag.anchor_cache import AnchorCache, join
from sac_rag.bench.clock import Lap
from sac_rag.bench.contexts import Scene
from sac_rag.bench.plain import PlainModel
from sac_rag.generation.cache import stack_anchors
from sac_rag.generation.grouped import grouped_attention


def stored_anchors(scene: Scene) -> AnchorCache:
    """Give the scene's anchors, joined."""
    return join(scene.load(scene.keys()), inv_freq=scene.memory.inv_freq)


def full_keys_values(scene: Scene) -> AnchorCache:
    """Give the scene's full keys and values as what they are: one anchor a token."""
    kept = scene.full_memory.load(scene.names)
    keys, values = kept.tensors()
    positions = torch.arange(1, kept.next_position + 1)
    return AnchorCache(
        keys=keys,
        values=values,
        positions=positions,
        num_tokens=kept.next_position,
        fingerprint="full keys and values",
    )


class RowsDecoder:
    """Asks the scene's question in many rows and gives the lap from first tokens to last.

    Args:
        scene: Context and question.
        cache: What stands before the question in every row.
        start: Position of the question's first token.
        rows: N.
        new_tokens: Tokens decoded in each row.
    """

    def __init__(
        self, scene: Scene, cache: AnchorCache, *, start: int, rows: int, new_tokens: int
    ) -> None:
        self._model = PlainModel(scene.subject.backbone)
        self._question_T = torch.tensor(scene.question_ids)
        self._cache, self._start = cache, start
        self._rows, self._new_tokens = rows, new_tokens
        self._sync = scene.subject.sync
        self.decoded_NT: Tensor | None = None
        """What the last call decoded."""
        self.cache_bytes = rows * (
            cache.nbytes + len(scene.question_ids) * scene.subject.backbone.token_bytes
        )

    @torch.inference_mode()
    def __call__(self) -> Lap:
        """Decode greedily."""
        backbone, room = self._model.backbone, len(self._question_T) + self._new_tokens
        cache = stack_anchors([self._cache] * self._rows, backbone=backbone, room=room)
        ids_NT = self._question_T.to(backbone.device).expand(self._rows, -1)
        position, laps, decoded = self._start, [], []
        with backbone.decoding(), grouped_attention(backbone):
            for _ in range(self._new_tokens):
                logits_NV = self._model.step_rows(cache, ids_NT, position)
                position += ids_NT.shape[1]
                ids_NT = logits_NV.argmax(-1, keepdim=True)
                decoded.append(ids_NT)
                self._sync()
                laps.append((time.perf_counter(), time.process_time()))
        self.decoded_NT = torch.cat(decoded, dim=1)
        (wall, cpu), (wall_end, cpu_end) = laps[0], laps[-1]
        return Lap(wall_s=wall_end - wall, cpu_s=cpu_end - cpu)
