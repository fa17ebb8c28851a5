"""Label images of benchmarks as input of the measurements, and measured values by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from app.bench.memory_cine import memory_cine
from app.domain.cine import Calibration, Frame
from app.domain.measure.biplane import Method
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import LeftHeart, ViewInput, measure_left_heart
from app.domain.measure.view_measurement import ViewMeasurement
from app.domain.views import FactSource, View

VALUES = Values(1, 2, 3)
"""Values of cavity, wall and atrium in label images of CAMUS and of phantoms."""

QUANTITIES = (
    ("ef", "ef_percent", "points"),
    ("edv", "edv_ml", "ml"),
    ("esv", "esv_ml", "ml"),
    ("sv", "sv_ml", "ml"),
    ("length ed", "length_ed_mm", "mm"),
    ("length es", "length_es_mm", "mm"),
    ("endocardial strain", "gls_endo_percent", "points"),
    ("la area es", "la_area_es_cm2", "cm2"),
    ("la volume es", "la_volume_es_ml", "ml"),
)
"""Name in rows, key of `ViewMeasurement`, and unit."""


def quantities(*views: str) -> list[tuple[str, str, str]]:
    """Return names, keys and units of the quantities of some views; the biplane view has no others."""
    keys = [(f"{view} {name}", f"{view}.{key}", unit) for view in views for name, key, unit in QUANTITIES]
    biplane = [(f"biplane {name}", f"biplane.{key}", unit) for name, key, unit in QUANTITIES[:4]]
    return [*(biplane if len(views) > 1 else []), *keys]


class _NoFrames:
    """Source of a cine of which only label images are needed."""

    def frame(self, index: int) -> Frame:
        raise LookupError(f"frame {index} is not needed to measure label images")

    def is_decoded(self, index: int) -> bool:
        return False

    def prefetch(self, order: Iterable[int], on_frame: object = None) -> None:
        del order, on_frame

    def close(self) -> None:
        pass


def view_input(
    view: str,
    masks: NDArray[np.uint8],
    spacing_mm: tuple[float, float],
    *,
    frames: tuple[int, int] | None = (0, 1),
    fps: float = 30.0,
    cavity_dice: Sequence[float] | NDArray[np.float32] = (),
    expected_dice: Sequence[float] | NDArray[np.float32] = (),
) -> ViewInput:
    """Return the input for one view.

    Parameters
    ----------
    view : str
        "A4C" or "A2C".
    masks : (T, H, W) uint8
        Label images of all frames.
    spacing_mm : (float, float)
        Height and width of a pixel.
    frames : (int, int), optional
        Frames of end-diastole and end-systole; None to find the beats.
    fps : float
        Frame rate in Hz.
    cavity_dice, expected_dice : (T,) float
        Of predicted masks, for the intervals; nan where it is unknown.
    """
    calibration = Calibration(spacing_mm[1], spacing_mm[0], "benchmark")
    return ViewInput(
        memory_cine(masks.shape, fps, calibration, _NoFrames(), view),
        dict(enumerate(masks)),
        View(view),
        FactSource.FILE,
        frames=frames,
        structure_dice=_known(cavity_dice),
        expected_dice=_known(expected_dice),
    )


def measure(views: Sequence[ViewInput], method: Method = Method.ASE) -> LeftHeart:
    """Measure one or two views."""
    return measure_left_heart(views, VALUES, method=method)


def values_of(heart: LeftHeart, beats: Mapping[str, int] | None = None) -> dict[str, float | None]:
    """Return the measured values by key, such as "A4C.ef_percent".

    Parameters
    ----------
    heart : LeftHeart
    beats : mapping, optional
        Number of the beat by view; default the first.
    """
    found: dict[str, float | None] = {}
    for name, view in heart.views.items():
        beat = view.beats[0 if beats is None else beats[name]]
        found |= {f"{name}.{key}": value for key, value in _numbers(beat).items()}
    if heart.biplane is not None:
        for key in ("edv_ml", "esv_ml", "sv_ml", "ef_percent"):
            found[f"biplane.{key}"] = getattr(heart.biplane, key)
    return found


def _numbers(beat: ViewMeasurement) -> dict[str, float | None]:
    known = {field.name for field in fields(beat)}
    return {key: getattr(beat, key) for _, key, _ in QUANTITIES if key in known}


def _known(dice: Sequence[float] | NDArray[np.float32]) -> dict[int, float]:
    return {frame: float(value) for frame, value in enumerate(dice) if np.isfinite(value)}
