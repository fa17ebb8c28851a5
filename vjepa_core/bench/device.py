"""What a device can do, measured: its rate of matrix products, and the memory that a process took."""

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
    """Best rate of a square matrix product, with the threads that torch uses here.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
    side : int
        Of the matrices; 0 for one large enough for this kind of device.
    seconds : float
        For how long it is tried.

    Returns
    -------
    float
        Operations a second, two for each product and sum.
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

    once()  # the first one loads the library
    best, until = once(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        best = min(best, once())
    return 2 * side**3 / best


def device_name(device: torch.device) -> str:
    """The GPU's name, or "CPU"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that this process held: the device's memory on a GPU, resident memory on a CPU.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        # Not getrusage: on Linux that counts what the parent held when it started this process.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
