"""Distribute a model over several processes: replicated (DDP) or sharded (FSDP2).

Sharding is for encoders that do not fit on one GPU with their optimiser state. The large matrices of each
block of student, predictor and teacher are gathered when the block runs and freed afterwards; all other
weights are gathered for the whole pass. Matrices are gathered in bfloat16 if the run uses bfloat16, because
autocast would convert them anyway; gradients are reduced in float32. Checkpoints have the same format
with and without sharding.

FSDP is imported late, because a run without sharding does not need its several hundred modules.
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


class TeacherRunner(nn.Module):
    """Calls functions of the teacher within a forward pass, where FSDP gathers its weights."""

    def __init__(self, teacher: VisionTransformer3D) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return `function(teacher, *arguments)`."""
        return function(self.teacher, *arguments)


def distribute(
    objective: Objective, teacher_runner: TeacherRunner, world: World, *, sharded: bool, bf16: bool
) -> nn.Module:
    """Move objective and teacher to the device and synchronise them between processes.

    Parameters
    ----------
    objective : Objective
        The same weights in every process; changed in place.
    teacher_runner : TeacherRunner
        The same weights in every process; changed in place.
    world : World
        This process.
    sharded : bool
        Keep only the shard of this process. Requires more than one process.
    bf16 : bool
        Gather the shards of a block in bfloat16.

    Returns
    -------
    Module
        The module to call in a pass.
    """
    if sharded:
        _shard(objective, teacher_runner, world, bf16=bf16)
        return objective
    objective.to(world.device)
    teacher_runner.to(world.device)
    if world.size == 1:
        return objective
    return DistributedDataParallel(objective, broadcast_buffers=False, gradient_as_bucket_view=True)


def _shard(objective: Objective, teacher_runner: TeacherRunner, world: World, *, bf16: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    # Do not cast inputs, because autocast does.
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    policy = half if bf16 else MixedPrecisionPolicy()
    # One block after the other, so that only one is on the device unsharded.
    for block in (*objective.student.blocks, *objective.predictor.blocks, *teacher_runner.teacher.blocks):
        modules = [block.get_submodule(name) for name in ("attn", "mlp")]
        fully_shard(modules, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh)
    # Free the weights after the forward pass, because the teacher has no backward pass.
    fully_shard(teacher_runner, mesh=mesh, reshard_after_forward=True)


def full_norm(norm: Tensor) -> Tensor:
    """Return a norm over shards as a plain scalar tensor; every process has to call this."""
    from torch.distributed.tensor import DTensor

    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gather_state(state: Any, *, keep: bool) -> Any:
    """Gather the sharded tensors in nested dicts on the CPU.

    Every process has to call this; with `keep` False, tensors are replaced by None.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(state, dict):
        return {key: gather_state(value, keep=keep) for key, value in state.items()}
    if isinstance(state, DTensor):
        full: Tensor = state.full_tensor()
        return full.detach().cpu() if keep else None
    return state


def shard_optimiser_state(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Shard the stored state of an optimiser like its weights."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    weights = [weight for group in optimiser.param_groups for weight in group["params"]]

    def part(value: Any, weight: Tensor) -> Any:
        if isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape:
            # Every process has read the complete file, so that nothing needs to be sent.
            return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
        return value

    parts = {
        number: {name: part(value, weights[number]) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": parts}
