"""How long an encoder takes for a clip here, told from its first blocks: those of a large one suffice."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.cost import clip_memory
from vjepa_core.encoder.precision import inference_dtype, with_matrices_in
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError
from vjepa_core.fewshot.features import CLIP_FRAMES, GPU_BATCH, extract
from vjepa_core.preprocessing import INPUT_SIZE

_BLOCKS = 2
_READS = 4
_FEWEST, _SECONDS = 3, 0.5


def clip_seconds(architecture: Architecture, device: torch.device) -> float:
    """Seconds a clip of `extract` with the whole encoder, from a run of two of its blocks.

    The blocks are alike, so the time from the first one's begin to the second one's end counts as often as
    there are pairs of them; all else counts once.

    Parameters
    ----------
    architecture : Architecture
    device : torch.device

    Returns
    -------
    float

    Raises
    ------
    EncoderError
        If clips of the program's size do not divide into this encoder's tokens.
    """
    needed_memory(architecture, device)  # refuses what does not divide
    blocks = min(_BLOCKS, architecture.depth)
    encoder = VisionTransformer3D(replace(architecture, depth=blocks))
    with_matrices_in(encoder, inference_dtype(device)).to(device).eval().requires_grad_(False)
    marks: list[float] = []

    def mark(*_: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())

    encoder.blocks[0].register_forward_pre_hook(mark)
    encoder.blocks[-1].register_forward_hook(mark)
    clips = _clips_at_once(device)
    # Neighbouring clips share half their frames.
    frames = _noise(CLIP_FRAMES * (clips + 1) // 2)
    each: list[float] = []
    until = time.perf_counter()
    while len(each) <= _FEWEST or time.perf_counter() < until:
        marks.clear()
        began = time.perf_counter()
        extract(encoder, frames, fps=0, depths=(blocks - 1,) * _READS)
        whole, inside = time.perf_counter() - began, marks[1] - marks[0]
        each.append((whole + (architecture.depth / blocks - 1) * inside) / clips)
        if len(each) == 1:  # made tables and loaded libraries
            until = time.perf_counter() + _SECONDS
    return median(each[1:])


def needed_memory(architecture: Architecture, device: torch.device) -> int:
    """About the bytes that `extract` takes, weights included; EncoderError as `clip_seconds`."""
    matrix_bytes = inference_dtype(device).itemsize
    batch = _clips_at_once(device)
    try:
        return clip_memory(
            architecture, CLIP_FRAMES, INPUT_SIZE, matrix_bytes=matrix_bytes, batch=batch, reads=_READS
        )
    except ValueError as error:
        raise EncoderError(
            f"Clips of {CLIP_FRAMES} frames of {INPUT_SIZE} pixels do not divide into the tokens of this "
            "encoder: choose another one."
        ) from error


def device_memory(device: torch.device) -> int | None:
    """Bytes that the GPU, or for a CPU the machine, has in all; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _windows_memory() -> int | None:
    class Status(ctypes.Structure):  # MEMORYSTATUSEX
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", *"abcde")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.total) if found else None


def _clips_at_once(device: torch.device) -> int:
    return GPU_BATCH if device.type == "cuda" else 1


def _noise(frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (frames, INPUT_SIZE, INPUT_SIZE)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
