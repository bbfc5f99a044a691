"""What a trainer steps: a method with weights for its objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sac_rag.adapter import Adapter, read_sink
from sac_rag.anchor_cache import AnchorCache
from sac_rag.train.objectives import OBJECTIVES, Objective, compress_samples, continuation
from sac_rag.train.passes import Passes, together
from sac_rag.train.samples import Sample


class TrainingModule(nn.Module):
    """Holds everything that is learned, so that distributed wrappers find it.

    Args:
        adapter: What is trained.
        weights: Objective by name to its weight; those of weight 0 are left out.
        passes: Groups chunks for the encoder and samples for the decoder.
        bos_id: The tokenizer's BOS, for an adapter with a sink.
        objectives: Those that the weights name.

    Raises:
        ConfigError: If the adapter wants a sink and there is no BOS.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        weights: Mapping[str, float],
        bos_id: int | None = None,
        objectives: Mapping[str, Objective] = OBJECTIVES,
        passes: Passes = together,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.model = adapter.backbone.model
        self.method = adapter.method
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.passes = passes
        self._objectives = {name: objectives[name] for name in self.weights}
        self.bos_id = bos_id
        # of the frozen model, so read once; before anything is sharded
        self._sink = read_sink(adapter, bos_id)
        # where accelerate looks for the layers that FSDP shards one by one
        self._no_split_modules = [type(adapter.backbone.decoder.layers[0]).__name__]

    def forward(self, samples: Sequence[Sample], ratio: int | None = None) -> dict[str, Any]:
        """Give ``loss``, and each objective's own mean loss by name.

        Args:
            samples: A batch.
            ratio: Tokens per anchor in any-ratio training; None for the method's own.
        """
        anchors = self._compress(samples, ratio=ratio)
        parts: dict[str, Tensor] = {
            name: objective(self.method, samples, anchors, passes=self.passes).mean()
            for name, objective in self._objectives.items()
        }
        total = sum(self.weights.values())
        loss = sum((self.weights[name] * part for name, part in parts.items()), start=0.0) / total
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    def continuation_losses(self, samples: Sequence[Sample]) -> Tensor:
        """Give each sample's mean loss over what follows its compressed text, (B,)."""
        return continuation(self.method, samples, self._compress(samples), passes=self.passes)

    def _compress(
        self, samples: Sequence[Sample], *, ratio: int | None = None
    ) -> list[AnchorCache]:
        backbone = self.adapter.backbone
        return compress_samples(
            self.method,
            samples,
            ratio=ratio,
            query_aware=self.adapter.config.query_aware,
            passes=self.passes,
            # the module may have been moved since
            sink=self._sink and self._sink.to(backbone.device, backbone.dtype),
        )


def make_trainable(adapter: Adapter) -> int:
    """Let LoRA and embeddings learn, nothing else; give the number of weights that do."""
    for name, weight in adapter.backbone.model.named_parameters():
        weight.requires_grad_("lora_" in name)
    adapter.method.requires_grad_(True)
    modules = (adapter.backbone.model, adapter.method)
    return sum(
        weight.numel()
        for module in modules
        for weight in module.parameters()
        if weight.requires_grad
    )
