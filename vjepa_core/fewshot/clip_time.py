"""Estimate the time that an encoder takes for a clip on this machine from a run of its first blocks."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.cost import clip_memory
from vjepa_core.encoder.precision import cast_matrices, inference_dtype
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError
from vjepa_core.fewshot.features import CLIP_FRAMES, GPU_BATCH, extract
from vjepa_core.letterbox import INPUT_SIZE
from vjepa_core.memory import machine_memory

_BLOCKS = 2
_DEPTHS = 4
_MIN_RUNS, _SECONDS = 3, 0.5


def clip_seconds(architecture: Architecture, device: torch.device) -> float:
    """Estimate the seconds per clip of `extract` with the complete encoder by running two of its blocks.

    All blocks take the same time. The time of the two blocks is multiplied by the number of pairs, and the
    time of the last norm by the number of depths; everything else counts once.

    Parameters
    ----------
    architecture : Architecture
        Architecture of the encoder.
    device : torch.device
        Device to measure.

    Returns
    -------
    float
        Seconds per clip.

    Raises
    ------
    EncoderError
        If clips of the program's size do not divide into tokens of this encoder.
    """
    required_memory(architecture, device)  # checks that the clips divide
    blocks = min(_BLOCKS, architecture.depth)
    encoder = VisionTransformer3D(replace(architecture, depth=blocks))
    cast_matrices(encoder, inference_dtype(device)).to(device).eval().requires_grad_(False)
    marks: list[float] = []

    def mark(*_: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())

    norm = encoder.output_norm(blocks - 1)
    for first, last in ((encoder.blocks[0], encoder.blocks[-1]), (norm, norm)):
        first.register_forward_pre_hook(mark)
        last.register_forward_hook(mark)
    clips = _clips_at_once(device)
    # Consecutive clips overlap by half.
    frames = _noise(CLIP_FRAMES * (clips + 1) // 2)
    seconds: list[float] = []
    until = time.perf_counter()
    while len(seconds) <= _MIN_RUNS or time.perf_counter() < until:
        marks.clear()
        start = time.perf_counter()
        extract(encoder, frames, fps=0, depths=(blocks - 1,) * _DEPTHS)
        total, in_blocks, in_norm = time.perf_counter() - start, marks[1] - marks[0], marks[3] - marks[2]
        # A repeated depth is copied each time, but normalised once.
        missing = (architecture.depth / blocks - 1) * in_blocks + (_DEPTHS - 1) * in_norm
        seconds.append((total + missing) / clips)
        if len(seconds) == 1:  # warm-up
            until = time.perf_counter() + _SECONDS
    return median(seconds[1:])


def required_memory(architecture: Architecture, device: torch.device) -> int:
    """Estimate the memory in bytes that `extract` needs, including weights.

    Raises
    ------
    EncoderError
        If clips of the program's size do not divide into tokens of this encoder.
    """
    matrix_bytes = inference_dtype(device).itemsize
    batch = _clips_at_once(device)
    try:
        return clip_memory(
            architecture, CLIP_FRAMES, INPUT_SIZE, matrix_bytes=matrix_bytes, batch=batch, n_depths=_DEPTHS
        )
    except ValueError as error:
        raise EncoderError(
            f"Clips of {CLIP_FRAMES} frames of {INPUT_SIZE} pixels do not divide into tokens of this "
            "encoder: choose another one."
        ) from error


def device_memory(device: torch.device) -> int | None:
    """Return the total memory of the GPU or, for a CPU, of the machine in bytes; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return machine_memory()


def _clips_at_once(device: torch.device) -> int:
    return GPU_BATCH if device.type == "cuda" else 1


def _noise(frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (frames, INPUT_SIZE, INPUT_SIZE)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
