"""Phantom cines with two outlined frames: predicted masks of all frames, and the beats they truly show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.bench.camus import CLASSES
from vjepa_core.bench.kept_arrays import checksum, kept_arrays
from vjepa_core.bench.scored_cines import annotated_frames
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.fewshot.starter import Starter
from vjepa_core.phantom import VIEWS, make_cines
from vjepa_core.phantom.motion import CAVITY

FRAMES, FPS = 64, (20.0, 30.0)
"""Length and range of the frame rate: two seconds and more, so that most cines show two beats."""

_SEEDS = 0x3EA5 << 32
"""First seed of measured phantoms, which are not used for training."""


_SYSTOLE = 0.75
"""A beat that is followed up to this phase has passed end-systole at any heart rate of the phantom."""


class Outlined(StrEnum):
    """Choice of the two outlined frames."""

    PHASES = "ED and ES"
    """End-diastole and end-systole of the first beat, as a user who measures it."""
    EVEN = "evenly spaced"
    """The middle of each half of the cine, whatever its phase."""


@dataclass(frozen=True)
class TrueBeat:
    """End-diastole and end-systole of a beat on a cine: frames of the largest and the smallest volume."""

    ed: int
    es: int


@dataclass(frozen=True, eq=False)
class PhantomCine:
    """A phantom cine with truth.

    Attributes
    ----------
    seed : int
    view : str
        "A4C" or "A2C".
    frames, masks : (T, 224, 224) uint8
        Images and true label images.
    spacing_mm : (float, float)
        Height and width of a pixel.
    fps : float
    volume_ml : (T,) float
        True single-plane volume.
    endocardium : (T, n, 2) float
        True endocardial line, (y, x) in mm.
    beats : tuple of TrueBeat
        Beats whose end-diastole and end-systole lie on the cine.
    """

    seed: int
    view: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    fps: float
    volume_ml: NDArray[np.float64]
    endocardium: NDArray[np.float64]
    beats: tuple[TrueBeat, ...]

    def outlined(self, choice: Outlined) -> list[int]:
        """Return the two frames that are outlined."""
        if choice is Outlined.EVEN:
            return annotated_frames(range(len(self.frames)), 2)
        return sorted((self.beats[0].ed, self.beats[0].es))

    def measured_beat(self, outlined: Sequence[int]) -> TrueBeat:
        """Return the last beat of which no frame is outlined, else the last one."""
        free = [beat for beat in self.beats if beat.ed not in outlined and beat.es not in outlined]
        return (free or list(self.beats))[-1]


@dataclass(frozen=True, eq=False)
class PredictedCine:
    """Predicted masks of a phantom cine.

    Attributes
    ----------
    cine : PhantomCine
    outlined : list of int
        Frames whose true label images were given.
    masks : (T, 224, 224) uint8
        Predicted label images, on outlined frames too.
    expected_dice, cavity_dice : (T,) float
        Expected Dice, and Dice of the LV cavity expected from the softmax; nan without a cavity.
    """

    cine: PhantomCine
    outlined: list[int]
    masks: NDArray[np.uint8]
    expected_dice: NDArray[np.float32]
    cavity_dice: NDArray[np.float32]


def phantom_cine(seed: int) -> PhantomCine | None:
    """Generate a phantom cine; None if it shows fewer than two beats."""
    generator = torch.Generator().manual_seed(_SEEDS + seed)
    batch = make_cines(1, frames=FRAMES, fps=FPS, generator=generator)
    volume = batch.volume[0].double().numpy()
    beats = true_beats(batch.phase[0].numpy(), volume)
    if len(beats) < 2:
        return None
    height, width = batch.mm_per_px[0].tolist()
    return PhantomCine(
        seed,
        VIEWS[int(batch.view[0])],
        batch.frames[0].numpy(),
        batch.masks[0].numpy(),
        (height, width),
        float(batch.fps[0]),
        volume,
        batch.endocardium[0].double().numpy(),
        beats,
    )


def kept_file(folder: Path, cine: PhantomCine, choice: Outlined, starter: Starter | None) -> Path:
    """Return the file of the predictions of a cine, which depend on the head that fits start from."""
    name = (
        f"phantom_{cine.seed:04d}_{choice.name.lower()}_{checksum(None if starter is None else starter.head)}"
    )
    return folder / f"{name}.npz"


def true_beats(phase: NDArray[np.floating], volume: NDArray[np.float64]) -> tuple[TrueBeat, ...]:
    """Find the beats whose end-diastole and end-systole lie on the cine.

    Parameters
    ----------
    phase : (T,) float
        Phase of the beat, 0..1, 0 at end-diastole.
    volume : (T,) float
        Volume of the ventricle.
    """
    starts = [int(frame) + 1 for frame in np.flatnonzero(np.diff(phase) < 0)]
    beats = []
    for start, end in zip(starts, [*starts[1:], len(phase)], strict=True):
        if phase[end - 1] < _SYSTOLE:
            continue
        first = max(start - 1, 0)  # the last frame before the R wave may be the fuller one
        beats.append(
            TrueBeat(first + int(volume[first : start + 3].argmax()), start + int(volume[start:end].argmin()))
        )
    return tuple(beats)


def predict_cine(
    cine: PhantomCine,
    choice: Outlined,
    encoder: LoadedEncoder,
    starter: Starter | None,
    *,
    keep: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PredictedCine:
    """Outline two frames, fit as `apical segment` does, and predict all frames.

    Parameters
    ----------
    cine : PhantomCine
    choice : Outlined
    encoder : LoadedEncoder
    starter : Starter, optional
    keep : Path, optional
        File of earlier predictions, see `kept_arrays`.
    should_stop : callable
        See `segment`.
    """
    outlined = cine.outlined(choice)

    def compute() -> dict[str, NDArray[Any]]:
        found = segment(
            cine.frames,
            {frame: cine.masks[frame] for frame in outlined},
            tuple(CLASSES),
            fps=cine.fps,
            pixel_aspect=cine.spacing_mm[0] / cine.spacing_mm[1],
            encoder=encoder,
            start=starter,
            should_stop=should_stop,
        )
        cavity = [dice.get(CAVITY, math.nan) for dice in found.structure_dice]
        return {
            "masks": found.masks,
            "expected_dice": found.confidence,
            "cavity_dice": np.array(cavity, np.float32),
        }

    arrays = kept_arrays(keep, compute)
    return PredictedCine(cine, outlined, arrays["masks"], arrays["expected_dice"], arrays["cavity_dice"])
