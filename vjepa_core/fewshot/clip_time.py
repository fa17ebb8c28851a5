"""How long an encoder takes for a clip here, told from its first blocks: those of a large one suffice."""

from __future__ import annotations

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
from vjepa_core.memory import machine_memory
from vjepa_core.preprocessing import INPUT_SIZE

_BLOCKS = 2
_READS = 4
_FEWEST, _SECONDS = 3, 0.5


def clip_seconds(architecture: Architecture, device: torch.device) -> float:
    """Seconds a clip of `extract` with the whole encoder, from a run of two of its blocks.

    The blocks are alike, so the time from the first one's begin to the second one's end counts as often as
    there are pairs of them, and the last norm once for each depth that is read; all else counts once.

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

    norm = encoder.norms_block[-1] if encoder.v21 else encoder.norm
    for first, last in ((encoder.blocks[0], encoder.blocks[-1]), (norm, norm)):
        first.register_forward_pre_hook(mark)
        last.register_forward_hook(mark)
    clips = _clips_at_once(device)
    # Neighbouring clips share half their frames.
    frames = _noise(CLIP_FRAMES * (clips + 1) // 2)
    each: list[float] = []
    until = time.perf_counter()
    while len(each) <= _FEWEST or time.perf_counter() < until:
        marks.clear()
        began = time.perf_counter()
        extract(encoder, frames, fps=0, depths=(blocks - 1,) * _READS)
        whole, inside, normed = time.perf_counter() - began, marks[1] - marks[0], marks[3] - marks[2]
        # A depth asked for several times is copied as often, but normalised once.
        more = (architecture.depth / blocks - 1) * inside + (_READS - 1) * normed
        each.append((whole + more) / clips)
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
    return machine_memory()


def _clips_at_once(device: torch.device) -> int:
    return GPU_BATCH if device.type == "cuda" else 1


def _noise(frames: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (frames, INPUT_SIZE, INPUT_SIZE)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
