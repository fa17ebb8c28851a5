"""One model in several processes: a copy in each (DDP), or a shard in each (FSDP2).

Shards are for encoders that do not fit one GPU with their optimiser. The large maps of each block, in
student, predictor and teacher, are put together when the block runs and let go after; all else is small, and
together throughout a pass. Those maps travel in bfloat16 where the run computes in it, to which autocast
would round them anyway; gradients meet in float32. A checkpoint is that of a run without shards, and either
goes on from the other's.

Late imports, since a run without shards needs none of the six hundred modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.objective import Objective

T = TypeVar("T")


class Reader(nn.Module):
    """Calls functions of a teacher within a forward pass, which is where FSDP puts its weights together."""

    def __init__(self, teacher: VisionTransformer3D) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, function: Callable[..., T], *arguments: Any) -> T:
        """`function(teacher, *arguments)`."""
        return function(self.teacher, *arguments)


def distribute(objective: Objective, reader: Reader, world: World, *, sharded: bool, bf16: bool) -> nn.Module:
    """What a pass has to call, on this process's device; weights and gradients meet in it by themselves.

    Parameters
    ----------
    objective, reader
        With the same weights in every process; changed in place.
    world : World
    sharded : bool
        Keep only this process's part of every weight. Needs more than one process.
    bf16 : bool
        Put the shards of a block together in bfloat16.
    """
    if sharded:
        _shard(objective, reader, world, bf16=bf16)
        return objective
    objective.to(world.device)
    reader.to(world.device)
    if world.size == 1:
        return objective
    return DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)


def _shard(objective: Objective, reader: Reader, world: World, *, bf16: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    # Inputs stay as they are: autocast rounds them.
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    policy = half if bf16 else MixedPrecisionPolicy()
    # Each block moves to the device and loses its other parts there, before the next one comes.
    for block in (*objective.student.blocks, *objective.predictor.blocks, *reader.teacher.blocks):
        maps = [block.get_submodule(name) for name in ("attn", "mlp")]
        fully_shard(maps, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh)
    # No backward pass would let the teacher's other weights go.
    fully_shard(reader, mesh=mesh, reshard_after_forward=True)


def norm_of_all(norm: Tensor) -> Tensor:
    """A norm over shards as a plain scalar, on its device; every process has to ask."""
    from torch.distributed.tensor import DTensor

    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def whole(state: Any, *, keep: bool) -> Any:
    """A dict of dicts of tensors, put together from shards on the CPU.

    Every process has to ask; with `keep` False it gets None in the place of a tensor.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(state, dict):
        return {key: whole(value, keep=keep) for key, value in state.items()}
    if isinstance(state, DTensor):
        full: Tensor = state.full_tensor()
        return full.detach().cpu() if keep else None
    return state


def scattered(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """The stored state of an optimiser, in shards like those of its weights."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    weights = [weight for group in optimiser.param_groups for weight in group["params"]]

    def part(value: Any, weight: Tensor) -> Any:
        if isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape:
            # Every process has read the whole file: nothing needs to be sent.
            return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
        return value

    parts = {
        number: {name: part(value, weights[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": parts}
