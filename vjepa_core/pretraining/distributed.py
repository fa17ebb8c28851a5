"""The processes of a run and the device of each: one alone, or those that torchrun started."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

_LAST_TENSORS_S = 0.2


@dataclass(frozen=True)
class World:
    """This process among its peers.

    Attributes
    ----------
    device : torch.device
        Where this process computes.
    rank, size : int
        Number of this process, from 0, and how many there are, over all machines.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """The one process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def least(self, value: int) -> int:
        """Smallest of a number over processes."""
        if self.size == 1:
            return value
        box = torch.tensor(value, device=self.device)
        dist.all_reduce(box, dist.ReduceOp.MIN)
        return int(box)


def best_device() -> torch.device:
    """This process's GPU, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


@contextlib.contextmanager
def joined(device: torch.device | None = None) -> Iterator[World]:
    """The world that the environment tells of (torchrun's WORLD_SIZE, RANK, LOCAL_RANK); left at the end."""
    device = device or best_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
        if device.type == "cpu":
            # Gloo's threads may still let go of their last tensors, which needs the interpreter; should it
            # end just then, the process would abort after its work is done.
            time.sleep(_LAST_TENSORS_S)
