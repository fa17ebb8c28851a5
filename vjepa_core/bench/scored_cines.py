"""Cines with many labelled frames, of which some are annotated and the others scored: synthetic or given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vjepa_core.bench.camus import BenchError, load_camus
from vjepa_core.fewshot.compare import LabelledCine
from vjepa_core.phantom import make_cines
from vjepa_core.pretraining.pseudo import PairBank, pseudo_cine

_PHANTOM_SEEDS = 0x5C04ED << 24
"""First seed of scored phantoms, which are not used for training."""

_PSEUDO_FPS = 25.0

GIVEN = "given"
"""Kind of cines that are not synthetic."""


@dataclass(frozen=True, eq=False)
class ScoredCine(LabelledCine):
    """Labelled cine for scoring.

    Attributes
    ----------
    kind : str
        "phantom", "pseudo" or "given"; kinds are never averaged together.
    mm : float, optional
        Pixel size in mm, if it is known and pixels are square.
    """

    kind: str = GIVEN
    mm: float | None = None


def annotated_frames(labelled: Collection[int], count: int) -> list[int]:
    """Choose the annotated frames among the labelled frames.

    The labelled frames are divided into `count` equal parts, and the middle frame of each part is annotated.
    No frame is therefore far from an annotated one, which favours methods that carry labels.

    Parameters
    ----------
    labelled : collection of int
        Frame numbers, at least `count`.
    count : int
        Number of annotated frames, at least 1.
    """
    order = sorted(labelled)
    return [order[(2 * part + 1) * len(order) // (2 * count)] for part in range(count)]


def phantom_cines(n: int, *, frames: int = 40, size: int = 224, first: int = 0) -> list[ScoredCine]:
    """Generate phantom cines with labels of every frame; cine i has the seed `first` + i.

    Parameters
    ----------
    n, frames, size : int
        Number of cines, number of frames, side in pixels.
    first : int
        Seed of the first cine.

    Raises
    ------
    BenchError
        If a number is out of range.
    """
    cines = []
    for seed in range(first, first + n):
        generator = torch.Generator().manual_seed(_PHANTOM_SEEDS + seed)
        try:
            batch = make_cines(1, frames=frames, size=size, generator=generator)
        except ValueError as error:
            raise BenchError(f"Phantom cines cannot be generated: {error}.") from error
        height, width = batch.mm_per_px[0].tolist()
        square = abs(height - width) < 1e-3 * width
        cines.append(
            ScoredCine(
                batch.frames[0].numpy(),
                float(batch.fps[0]),
                dict(enumerate(batch.masks[0].numpy())),
                "phantom",
                width if square else None,
            )
        )
    return cines


def pseudo_cines(
    camus: Path, n: int, *, frames: int = 40, seed: int = 0, training: bool = False
) -> list[ScoredCine]:
    """Generate pseudo-cines between the labelled still images of scored CAMUS patients, one per patient.

    Parameters
    ----------
    camus : Path
        File for `load_camus`.
    n, frames, seed : int
        Maximum number of cines, number of frames, and seed of patients and views.
    training : bool
        Use training patients instead, for settings that are chosen before scoring.

    Raises
    ------
    BenchError
        If the file is not a CAMUS file, or has no patient with images at end-diastole and end-systole.
    """
    train, scored = load_camus(camus)
    stills = train if training else scored
    with np.load(camus, allow_pickle=False) as arrays:
        split = "train" if training else "test" if "test_img" in arrays.files else "val"
        names = arrays[f"{split}_name"].tolist()
    stems = sorted({name.rpartition("_")[0] for name in names})
    chosen: dict[str, str] = {}
    for i in np.random.default_rng(seed).permutation(len(stems)):
        chosen.setdefault(stems[i].split("_")[0], stems[i])
    chosen_stems = set(list(chosen.values())[:n])
    bank = PairBank.from_stills(
        (name, stills.images[i], stills.masks[i])
        for i, name in enumerate(names)
        if name.rpartition("_")[0] in chosen_stems
    )
    if bank is None:
        raise BenchError(
            f"{camus} has no patient for a pseudo-cine: names must end in _ED and _ES, two for each view."
        )
    cines = [
        pseudo_cine(bank, pair, frames=frames, fps=_PSEUDO_FPS, seed=seed + pair) for pair in range(len(bank))
    ]
    return [ScoredCine(one.frames, one.fps, dict(enumerate(one.masks)), "pseudo") for one in cines]
