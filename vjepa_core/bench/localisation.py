"""Benchmark of the position information in features of frozen encoders, on held-out cines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa_core.bench.camus import BenchError
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.letterbox import Letterbox
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.probe import position_probe
from vjepa_core.pretraining.shards import PackedSet

GROUPS = frozenset({"echo", "lung"})


def clips_by_cine(
    packed: Sequence[Path], config: PretrainConfig, *, cines: int = 96, each: int = 2
) -> Tensor:
    """Load clips of real cines without augmentation, ordered by cine.

    Parameters
    ----------
    packed : sequence of Path
        Packed sets.
    config : PretrainConfig
        Frames, side and maximum frame rate of a clip.
    cines, each : int
        Maximum number of cines, in a fixed random order, and clips of each, at regular intervals.

    Returns
    -------
    Tensor
        Shape (N, T, size, size), uint8.

    Raises
    ------
    BenchError
        If fewer than four cines are long enough.
    """
    clips = []
    for folder in packed:
        for cine, frames, _ in PackedSet(folder).read(GROUPS):
            step = max(1, round(cine.fps / config.fps))
            span = (config.frames - 1) * step + 1
            if len(frames) < span:
                continue
            boxed = Letterbox.for_image(frames.shape[1], frames.shape[2], config.size).apply(frames)
            starts = np.linspace(0, len(frames) - span, each).astype(int)
            clips.append(np.stack([boxed[start : start + span : step] for start in starts]))
    if len(clips) < 4:
        raise BenchError(
            f"{len(clips)} cines are too few for a probe: give a packed set with at least four real cines."
        )
    # A multiple of four, so that the held-out quarter consists of whole cines.
    order = np.random.default_rng(0).permutation(len(clips))[: min(cines, len(clips)) // 4 * 4]
    return torch.from_numpy(np.concatenate([clips[i] for i in order]))


def probe_rows(
    encoders: Sequence[tuple[str, VisionTransformer3D]],
    clips: Tensor,
    task: LocalisationConfig,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 500,
) -> list[dict[str, Any]]:
    """Train the MLP of the localisation task on each frozen encoder and measure its loss on held-out cines.

    Parameters
    ----------
    encoders : sequence of (str, VisionTransformer3D)
        Names and encoders.
    clips : Tensor
        Result of `clips_by_cine`; the last quarter is held out.
    task : LocalisationConfig
        The task; with `variant` "absolute", the loss is a fraction of each axis.
    seeds, steps
        Seeds and number of steps of the MLP.

    Returns
    -------
    list of dict
        ``encoder, seed, loss, chance, solved``: the loss, that of the best constant prediction on the same
        pairs, and the relative reduction.
    """
    rows = []
    for name, encoder in encoders:
        for seed in seeds:
            probed = position_probe(encoder, clips, task, steps=steps, seed=seed)
            rows.append(
                {
                    "encoder": name,
                    "seed": seed,
                    "loss": probed.loss,
                    "chance": probed.chance,
                    "solved": probed.solved,
                }
            )
    return rows
