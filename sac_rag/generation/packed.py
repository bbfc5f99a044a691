"""A decoder's weights laid out once for products of few rows on a CPU.

A prompt behind anchors is a few dozen rows, a step of a batch fewer; the library that multiplies
float32 lays the weights out anew for every product, which then takes longer than the product. Laid
out beforehand (oneDNN's blocked form), 4 to 16 rows take half to two thirds of the time, 33 three
quarters; a single row gains nothing. It costs a second copy of the weights, so it is chosen, by
giving a backbone this object::

    backbone.while_decoding = PackedWeights(backbone)

Sums are taken in another order: logits differ by rounding. SAC's encoder reads the weights as they
are; what is encoded or scored by the frozen decoder itself (ICAE's anchors, ``scorer=surprisal``)
differs by as much, so fill a store with one setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sac_rag.backbone import Backbone
from sac_rag.errors import UnsupportedModelError
from sac_rag.generation.exchange import Product, exchanged

SINGLE = 2
"""Up to so many rows the plain product is a matrix times a vector, and as fast as memory."""
TYPICAL_ROWS = 32
"""Rows that the layout is chosen for; any number can be multiplied."""


class PackedWeights:
    """Called, it lets the frozen decoder's linear maps read their packed weights for a while.

    Args:
        backbone: On a CPU. Weights that are changed later want another object.

    Raises:
        UnsupportedModelError: If it is not on a CPU, this torch was built without oneDNN, or that
            knows no layout for weights of this precision on this processor.
    """

    def __init__(self, backbone: Backbone) -> None:
        has_onednn = torch.backends.mkldnn.is_available()
        if backbone.device.type != "cpu" or not has_onednn:
            raise UnsupportedModelError(
                "packed weights are for a CPU and a torch with oneDNN; the model is on "
                f"{backbone.device}, oneDNN is {'there' if has_onednn else 'missing'}; decode "
                "without"
            )
        with backbone.decoding():  # the frozen weights, also where a LoRA is merged for a while
            # of a LoRA the map that it stands on; its own small ones are off while decoding
            self._maps: list[tuple[Any, Product]] = [
                (module, _packed(module))
                for name, module in backbone.causal_lm.named_modules()
                if isinstance(module, nn.Linear) and ".lora_" not in name
            ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Exchange the maps; behind, they are as they were."""
        with exchanged(self._maps):
            yield


def _packed(module: nn.Linear) -> Product:
    operations: Any = torch.ops.mkldnn
    plain, bias = module.weight, module.bias
    try:
        packed = operations._reorder_linear_weight(plain.detach(), TYPICAL_ROWS)
    except RuntimeError as error:
        raise UnsupportedModelError(
            f"oneDNN packs no weights of {plain.dtype} on this processor ({error}); decode "
            "without, or load the model in float32"
        ) from error

    def forward(x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        if rows <= SINGLE or torch.is_grad_enabled():
            return linear(x, plain, bias)
        return operations._linear_pointwise(x, packed, bias, "none", [], "")

    return forward
