"""Measure the rate of matrix products of a device, and the peak memory of a process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

_SECONDS = 0.5
_SIDE_CPU, _SIDE_GPU = 1536, 8192


def matrix_rate(
    device: torch.device, dtype: torch.dtype, *, side: int = 0, seconds: float = _SECONDS
) -> float:
    """Measure the best rate of a square matrix product with torch's number of threads.

    Parameters
    ----------
    device : torch.device
        Device.
    dtype : torch.dtype
        Dtype of the matrices.
    side : int
        Side of the matrices; 0 for a size suited to the device.
    seconds : float
        Duration of the measurement.

    Returns
    -------
    float
        Operations per second, two for each multiply-add.
    """
    on_gpu = device.type == "cuda"
    side = side or (_SIDE_GPU if on_gpu else _SIDE_CPU)
    left, right = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)

    def once() -> float:
        began = time.perf_counter()
        torch.mm(left, right, out=out)
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    once()  # warm-up
    best, until = once(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        best = min(best, once())
    return 2 * side**3 / best


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or "CPU"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory of this process in bytes: device memory on a GPU, resident memory on a CPU.

    None if the system does not report it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        # Not getrusage, which on Linux includes the memory of the parent when it started this process.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
