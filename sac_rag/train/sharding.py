"""Weights shared out over processes (FSDP2): every layer a group, the rest with the root.

The frozen base is sharded with what is learned; accelerate and transformers do it. Ours are the
names of the layers, and that what is learned is gathered and written whole. The layers' own hooks
gather their weights, which is why ``sac_rag.layer_calls`` reads a layer inside its own call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sac_rag.errors import ConfigError


def sharding_arguments(layer: torch.nn.Module, *, processes: int) -> dict[str, Any]:
    """Give transformers' arguments that shard layers of a class.

    Raises:
        ConfigError: If there is one process alone.
    """
    if processes < 2:
        raise ConfigError(
            "fsdp=true shares weights out over processes, and there is one; start it by "
            "`accelerate launch --num_processes 8 -m sac_rag.train ...` or `torchrun "
            "--nproc-per-node 8 -m sac_rag.train ...`"
        )
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": [type(layer).__name__],
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


def shard_on_cpu(trainer: Any) -> None:
    """Let accelerate shard over gloo processes too: it asks for GPUs, torch does not.

    Slow, and for machines without GPUs alone: it walks the road that GPUs walk.
    """
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True


def check_version(plugin: Any) -> None:
    """Refuse the old FSDP, which flattens frozen and learned weights into one.

    Raises:
        ConfigError: If accelerate's own config names it.
    """
    if plugin.fsdp_version != 2:
        raise ConfigError(
            f"accelerate's config asks for FSDP version {plugin.fsdp_version}; set fsdp_version: 2 "
            "there, or fsdp: true in the recipe"
        )


def gather_for(module: torch.nn.Module, method: str) -> None:
    """Let a method be called as forward is: weights are gathered for it."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    register_fsdp_forward_method(module, method)


def share_out(module: Any) -> None:
    """Give up the root's weights, which a forward without a backward leaves whole."""
    module.reshard()


def whole(weight: Tensor) -> Tensor:
    """Gather a sharded weight, all processes together; give any other as it is."""
    return weight.full_tensor() if _is_sharded(weight) else weight  # type: ignore[attr-defined]


def like(sharded: Tensor, weight: Tensor) -> Tensor:
    """Share a whole weight out as another is."""
    if not _is_sharded(sharded):
        return weight
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = sharded.device_mesh, sharded.placements  # type: ignore[attr-defined]
    return distribute_tensor(weight.to(sharded.device, sharded.dtype), mesh, placements)


def optimizer_state(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Gather the state of a sharded optimizer by weight, all processes together.

    torch's own gathering refuses, when it loads, weights that no gradient has reached: of the last
    layer the encoder reads keys and values alone, so its other LoRAs have no state.
    """
    state = {
        name: {
            kind: whole(value).cpu() if isinstance(value, Tensor) else value
            for kind, value in optimizer.state[weight].items()
        }
        for name, weight in module.named_parameters()
        if weight in optimizer.state
    }
    groups = [
        {kind: value for kind, value in group.items() if kind != "params"}
        for group in optimizer.param_groups
    ]
    return {"state": state, "groups": groups}


def load_optimizer_state(
    module: torch.nn.Module, optimizer: torch.optim.Optimizer, stored: dict[str, Any]
) -> None:
    """Share out what ``optimizer_state`` gathered, all processes together."""
    weights = dict(module.named_parameters())
    for name, values in stored["state"].items():
        weight = weights[name]
        optimizer.state[weight] = {
            kind: like(weight, value)
            if isinstance(value, Tensor) and value.shape == weight.shape
            else value
            for kind, value in values.items()
        }
    for group, kept in zip(optimizer.param_groups, stored["groups"], strict=True):
        group.update(kept)


def _is_sharded(weight: Tensor) -> bool:
    return hasattr(weight, "full_tensor")
