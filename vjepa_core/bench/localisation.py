"""How much a frozen encoder knows of where its tokens stand, told on cines that the probe never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa_core.bench.camus import BenchError
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.preprocessing import Letterbox
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.probe import position_probe
from vjepa_core.pretraining.shards import PackedSet

GROUPS = frozenset({"echo", "lung"})


def clips_by_cine(
    packed: Sequence[Path], config: PretrainConfig, *, cines: int = 96, each: int = 2
) -> Tensor:
    """Unchanged clips of real cines, those of one cine together.

    Parameters
    ----------
    packed : sequence of Path
        Packed sets.
    config : PretrainConfig
        Frames, side and highest frame rate of a clip.
    cines, each : int
        Most cines, in random but fixed order, and clips of each, spread over its length.

    Returns
    -------
    Tensor
        (N, T, size, size) uint8.

    Raises
    ------
    BenchError
        If fewer than four cines are long enough.
    """
    found = []
    for folder in packed:
        for cine, frames, _ in PackedSet(folder).read(GROUPS):
            step = max(1, round(cine.fps / config.fps))
            span = (config.frames - 1) * step + 1
            if len(frames) < span:
                continue
            boxed = Letterbox.fit(frames.shape[1], frames.shape[2], config.size).apply(frames)
            starts = np.linspace(0, len(frames) - span, each).astype(int)
            found.append(np.stack([boxed[start : start + span : step] for start in starts]))
    if len(found) < 4:
        raise BenchError(
            f"{len(found)} cines are too few for a probe: give a packed set with at least four real cines."
        )
    # A multiple of four: the quarter that a probe holds out is then of whole cines.
    order = np.random.default_rng(0).permutation(len(found))[: min(cines, len(found)) // 4 * 4]
    return torch.from_numpy(np.concatenate([found[i] for i in order]))


def probe_rows(
    encoders: Sequence[tuple[str, VisionTransformer3D]],
    clips: Tensor,
    task: LocalisationConfig,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 500,
) -> list[dict[str, Any]]:
    """The task's small network trained over each frozen encoder, and its loss on held-out cines.

    Parameters
    ----------
    encoders : sequence of (name, encoder)
    clips : Tensor
        As `clips_by_cine` gives them; the last quarter is held out.
    task : LocalisationConfig
        What is asked; `variant` "absolute" has the loss in shares of each axis.
    seeds, steps
        Of the small network.

    Returns
    -------
    list of dict
        ``encoder, seed, loss, chance, solved``: the loss, that of the best constant answer on the same pairs,
        and the share of it that is gone.
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
