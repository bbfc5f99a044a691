"""The greatest logit by way of eight bits: exact, and a quarter of the bytes are read.

For one new token a float32 decoder reads all of its output head to choose one word; where the
vocabulary is large, that is a good part of the time. Here a copy in eight bits says within which
bounds each logit lies; the words that can still be the greatest, often some hundred, are computed
from the weights themselves. A greedy answer is the same; the logits of the words that cannot win
keep the error of eight bits, and sampling draws from those. So it is chosen, by giving a backbone
this object::

    backbone.while_decoding = GreedyHead(backbone)

Of 128,256 words of 2,048 numbers, two cores with AMX: 11 ms instead of 34 for one row, 15 instead
of 109 for eight. It costs a quarter of the head's bytes. ``fast_greedy`` has it with ``packed``.

Shapes: N rows, D model dim, V vocabulary, C words that can win.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from sac_rag.backbone import Backbone
from sac_rag.errors import UnsupportedModelError
from sac_rag.generation.exchange import exchanged

LEVELS = 127
"""Of a sign: weights and states are whole numbers up to it, times a scale."""
FINER = 2 * LEVELS
"""A second row of whole numbers says each state so many times as finely: rows cost nothing."""
MOST_ROWS = 32
"""Of more rows so many words can win one that the plain product is about as fast."""
WORTH = 8
"""Where more than one word in so many can win, all are computed."""


class GreedyHead:
    """Called, it lets the frozen decoder's output head choose by eight bits for a while.

    Args:
        backbone: On a CPU, in float32. Weights that are changed later want another object.

    Raises:
        UnsupportedModelError: If it is elsewhere or in another precision, the head has a bias, or
            this torch or processor does not multiply whole numbers exactly.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._head: Any = backbone.causal_lm.get_output_embeddings()
        weight_VD = self._head.weight.detach()
        if weight_VD.device.type != "cpu" or weight_VD.dtype != torch.float32:
            raise UnsupportedModelError(
                "a head in eight bits is for float32 on a CPU; the model is in "
                f"{weight_VD.dtype} on {weight_VD.device}; decode without"
            )
        if self._head.bias is not None:
            raise UnsupportedModelError("this model's output head has a bias; decode without")
        self._weight_VD = weight_VD
        tiny, eps = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).eps
        scale_V = (weight_VD.abs().amax(1) / LEVELS).clamp(min=tiny)
        self._product = WholeProduct((weight_VD / scale_V[:, None]).round().to(torch.int8), scale_V)
        # half a level a weight, and what two sums in float32 can lose
        self._off_V = scale_V * (0.5 + 2 * LEVELS * weight_VD.shape[1] * eps)
        self._size_V = weight_VD.abs().sum(1) + scale_V * weight_VD.shape[1]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Exchange the head's product; behind, it is as it was."""
        before = self._head.forward

        def forward(states: Tensor) -> Tensor:
            few = states.numel() <= MOST_ROWS * states.shape[-1]
            if not few or torch.is_grad_enabled():
                return before(states)
            return self.logits(states.reshape(-1, states.shape[-1])).view(*states.shape[:-1], -1)

        with exchanged([(self._head, forward)]):
            yield

    def logits(self, states_ND: Tensor) -> Tensor:
        """Give logits of which the greatest of every row is exact, (N, V)."""
        step_N1 = (states_ND.abs().amax(1, keepdim=True) / LEVELS).clamp(min=1e-30)
        levels_ND = states_ND / step_N1
        coarse_ND = levels_ND.round()
        fine_ND = ((levels_ND - coarse_ND) * FINER).round()
        coarse_NV, fine_NV = self._product(torch.cat((coarse_ND, fine_ND))).chunk(2)
        logits_NV = coarse_NV.add_(fine_NV, alpha=1 / FINER).mul_(step_N1)
        off_NV = states_ND.abs().sum(1, keepdim=True) * self._off_V
        off_NV += step_N1 / FINER * self._size_V  # twice what the finer row leaves
        surely_N1 = (logits_NV - off_NV).amax(1, keepdim=True)
        can_win_C = (logits_NV + off_NV >= surely_N1).any(0).nonzero()[:, 0]
        if len(can_win_C) * WORTH > len(self._weight_VD):
            return linear(states_ND, self._weight_VD)
        logits_NV[:, can_win_C] = linear(states_ND, self._weight_VD[can_win_C])
        return logits_NV


class WholeProduct:
    """Multiplies rows of whole numbers with a matrix of them, exactly, then by a scale a word.

    Args:
        whole_VD: Weights, int8.
        scale_V: Float32.

    Raises:
        UnsupportedModelError: If it is not exact here: without instructions for eight bits some
            processors let sums of two products overflow.
    """

    def __init__(self, whole_VD: Tensor, scale_V: Tensor) -> None:
        self._scale_V = scale_V
        self._zeros_V = torch.zeros(len(scale_V), dtype=torch.int32)
        try:
            packed = torch.ops.onednn.qlinear_prepack(whole_VD, [2, whole_VD.shape[1]])
            self._packed: Any = packed
            # as far from zero as sums can be, and as they come
            some = slice(None, None, max(1, len(whole_VD) // 64))
            probe_VD = whole_VD[some].float()
            rows_ND = torch.stack((probe_VD[0].sign() * LEVELS, probe_VD[-1]))
            found_NV = self(rows_ND)[:, some]
        except (RuntimeError, AttributeError) as error:
            raise UnsupportedModelError(
                f"this torch multiplies no whole numbers of eight bits ({error}); decode without"
            ) from error
        wanted_NV = rows_ND.double() @ probe_VD.T.double() * scale_V[some]
        if not torch.allclose(found_NV.double(), wanted_NV, rtol=1e-5, atol=0):
            raise UnsupportedModelError(
                "this processor multiplies whole numbers of eight bits inexactly; decode without"
            )

    def __call__(self, rows_ND: Tensor) -> Tensor:
        """Multiply rows of whole numbers of eight bits, kept in float32, (N, V)."""
        return torch.ops.onednn.qlinear_pointwise(
            *(rows_ND.to(torch.int8), 1.0, 0, self._packed, self._scale_V, self._zeros_V),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
