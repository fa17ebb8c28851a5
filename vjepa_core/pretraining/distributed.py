"""Processes of a run and their devices: a single process, or those started by torchrun."""

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
    """Rank and device of this process, and the number of processes.

    Attributes
    ----------
    device : torch.device
        Device of this process.
    rank, size : int
        Index of this process, from 0, and number of processes on all machines.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and log messages."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def minimum(self, value: int) -> int:
        """Return the minimum of `value` over the processes."""
        if self.size == 1:
            return value
        box = torch.tensor(value, device=self.device)
        dist.all_reduce(box, dist.ReduceOp.MIN)
        return int(box)


def best_device() -> torch.device:
    """Return the GPU of this process, or the CPU if there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


@contextlib.contextmanager
def init_distributed(device: torch.device | None = None) -> Iterator[World]:
    """Join the process group described by torchrun's environment variables; leave it at the end.

    The variables are WORLD_SIZE, RANK and LOCAL_RANK.
    """
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
            # Gloo's threads may still release tensors, which requires the interpreter; if it had ended, the
            # process would abort.
            time.sleep(_LAST_TENSORS_S)
