"""Measurements of the left heart on one cine with label images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Calibration, Cine, TimingSource
from app.domain.labels import LEFT_ATRIUM, LV_CAVITY, LV_MYOCARDIUM, LabelSet
from app.domain.measure.caveats import Caveat, CaveatKind
from app.domain.measure.cycle import Cycle, find_cycle
from app.domain.measure.heart import HeartGeometry, Values, heart_geometry
from app.domain.measure.view_measurement import ViewMeasurement, measure_view
from vjepa_core.label_image import LabelImage

LABELLED_SHARE = 0.8
"""Beats are only sought in a cine with at least this share of its frames labelled."""


@dataclass(frozen=True, eq=False)
class CineMeasurement:
    """Measurements of one cine.

    Attributes
    ----------
    beats : tuple of ViewMeasurement
        One per complete beat, or one for the frames that the user chose; never empty.
    cycle : Cycle or None
        None if the user chose the frames.
    ed, es : HeartGeometry or None
        Geometry of the first of `beats`.
    in_mm : bool
        Whether the geometry is in mm.
    """

    beats: tuple[ViewMeasurement, ...]
    cycle: Cycle | None
    ed: HeartGeometry | None
    es: HeartGeometry | None
    in_mm: bool


def structure_values(label_set: LabelSet) -> Values | None:
    """Return the label values of the left heart by their SNOMED CT codes; None without an LV cavity."""
    by_code = {structure.snomed: structure.value for structure in label_set.structures}
    cavity = by_code.get(LV_CAVITY)
    if cavity is None:
        return None
    return Values(cavity, by_code.get(LV_MYOCARDIUM), by_code.get(LEFT_ATRIUM))


def measure_cine(
    cine: Cine,
    labels: Mapping[int, LabelImage],
    values: Values,
    *,
    frames: tuple[int, int] | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> CineMeasurement:
    """Measure a cine.

    Parameters
    ----------
    cine : Cine
        Gives pixel size and times; no frame is decoded.
    labels : mapping of int to LabelImage
        Label images by zero-based frame.
    values : Values
    frames : (int, int), optional
        Frames of end-diastole and end-systole; default those of the complete beats of the cine.
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector.
    """
    caveats, calibration = _calibrated(cine, labels, values)
    if cine.colour_doppler:
        caveats.append(Caveat(CaveatKind.COLOUR_DOPPLER))
    spacing = (cine.pixel_aspect, 1.0)
    if calibration is not None:
        spacing = (calibration.mm_per_px_y, calibration.mm_per_px_x)
    in_mm = calibration is not None
    cycle, pairs = None, [frames] if frames is not None else []
    if frames is None:
        cycle = _cycle(cine, labels, values)
        pairs = [(beat.ed, beat.es) for beat in cycle.beats if beat.ed in labels and beat.es in labels]
        if cine.timing.source is TimingSource.ASSUMED:
            caveats.append(Caveat(CaveatKind.ASSUMED_FRAME_RATE))
    if not pairs:
        nothing = ViewMeasurement(None, None, caveats=(*caveats, Caveat(CaveatKind.NO_BEAT)))
        return CineMeasurement((nothing,), cycle, None, None, in_mm)
    geometries = {
        frame: heart_geometry(labels[frame], values, spacing, inside=inside) if frame in labels else None
        for frame in {frame for pair in pairs for frame in pair}
    }
    beats = tuple(
        measure_view(
            geometries[ed],
            geometries[es],
            ed_frame=ed,
            es_frame=es,
            in_mm=in_mm,
            caveats=tuple(caveats),
        )
        for ed, es in pairs
    )
    ed, es = pairs[0]
    return CineMeasurement(beats, cycle, geometries[ed], geometries[es], in_mm)


def _calibrated(
    cine: Cine, labels: Mapping[int, LabelImage], values: Values
) -> tuple[list[Caveat], Calibration | None]:
    """Return the pixel size that holds for the LV cavity on all frames, and why there is none."""
    found = {
        cine.calibration_of(label == values.cavity)
        for label in labels.values()
        if (label == values.cavity).any()
    }
    if len(found) == 1:
        calibration = found.pop()
        if calibration is not None:
            return [], calibration
    elif found:
        return [Caveat(CaveatKind.CALIBRATIONS_DIFFER)], None
    return [Caveat(CaveatKind.NO_CALIBRATION)], None


def _cycle(cine: Cine, labels: Mapping[int, LabelImage], values: Values) -> Cycle:
    """Find the beats from the area of the cavity on the labelled frames."""
    size = np.full(cine.n_frames, np.nan)
    for frame, label in labels.items():
        size[frame] = np.count_nonzero(label == values.cavity)
    size[size == 0] = np.nan
    if np.isfinite(size).mean() < LABELLED_SHARE:
        size[:] = np.nan
    cycle = find_cycle(size, cine.timing.times_ms)
    if cine.timing.source is TimingSource.ASSUMED:
        return replace(cycle, heart_rate=None)
    return cycle
