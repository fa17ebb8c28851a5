"""Measurements of the left heart on one cine with label images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Calibration, Cine, TimingSource
from app.domain.facts import Landmarks
from app.domain.labels import LEFT_ATRIUM, LV_CAVITY, LV_MYOCARDIUM, LabelSet
from app.domain.measure.biplane import BeatPlane
from app.domain.measure.caveats import Caveat, CaveatKind
from app.domain.measure.cycle import Beat, Cycle, find_cycle
from app.domain.measure.heart import HeartGeometry, Values, heart_geometry
from app.domain.measure.landmarks import from_pixels
from app.domain.measure.view_measurement import MM2_PER_CM2, ViewMeasurement, measure_view
from vjepa_core.label_image import LabelImage

LABELLED_SHARE = 0.8
"""Beats are only sought in a cine, and the smallest atrium in a beat, with this share of frames labelled."""

Geometries = Mapping[int, HeartGeometry | None]
"""Geometry by frame; None where no ventricle is labelled."""


@dataclass(frozen=True, eq=False)
class CineMeasurement:
    """Measurements of one cine.

    Attributes
    ----------
    beats : tuple of ViewMeasurement
        One per complete beat, or one for the frames that the user chose; never empty.
    cycle : Cycle
        Beats that were found, also if the user chose the frames.
    geometries : dict of int to HeartGeometry or None
        Geometry of the measured frames.
    in_mm : bool
        Whether the geometry is in mm.
    areas : (T,) float
        Area of the LV cavity by frame in cm2, or in pixels without a pixel size; nan where it is unknown.
    smallest_atria : tuple of int or None
        For each beat, the frame with the smallest atrium.
    """

    beats: tuple[ViewMeasurement, ...]
    cycle: Cycle
    geometries: dict[int, HeartGeometry | None]
    in_mm: bool
    areas: NDArray[np.float64]
    smallest_atria: tuple[int | None, ...] = field(default=(None,))

    @property
    def ed(self) -> HeartGeometry | None:
        """Geometry at end-diastole of the first beat."""
        return self.geometry(self.beats[0].ed_frame)

    @property
    def es(self) -> HeartGeometry | None:
        """Geometry at end-systole of the first beat."""
        return self.geometry(self.beats[0].es_frame)

    def planes(self) -> tuple[BeatPlane, ...]:
        """Return the beats with their geometry, for biplane measurements."""
        return tuple(
            BeatPlane(
                beat,
                self.geometry(beat.ed_frame),
                self.geometry(beat.es_frame),
                self.geometry(smallest),
            )
            for beat, smallest in zip(self.beats, self.smallest_atria, strict=True)
        )

    def with_first(self, beat: int) -> CineMeasurement:
        """Return a copy in which a beat comes first; the same if there is no such beat."""
        if not 0 < beat < len(self.beats):
            return self
        order = [beat, *(index for index in range(len(self.beats)) if index != beat)]
        return replace(
            self,
            beats=tuple(self.beats[index] for index in order),
            smallest_atria=tuple(self.smallest_atria[index] for index in order),
        )

    def geometry(self, frame: int | None) -> HeartGeometry | None:
        """Return the geometry of a measured frame; None if there is none."""
        return None if frame is None else self.geometries.get(frame)


def structure_values(label_set: LabelSet) -> Values | None:
    """Return the label values of the left heart by their SNOMED CT codes; None without an LV cavity."""
    by_code = {structure.snomed: structure.value for structure in label_set.structures}
    cavity = by_code.get(LV_CAVITY)
    if cavity is None:
        return None
    return Values(cavity, by_code.get(LV_MYOCARDIUM), by_code.get(LEFT_ATRIUM))


@dataclass(frozen=True)
class Scale:
    """Pixel size that holds for the LV cavity on all frames.

    Attributes
    ----------
    spacing : (float, float)
        Height and width of a pixel in mm; (aspect, 1) without a pixel size.
    calibration : Calibration or None
    caveats : tuple of Caveat
        Why there is no pixel size, or that it was set by hand.
    """

    spacing: tuple[float, float]
    calibration: Calibration | None
    caveats: tuple[Caveat, ...]


def scale_of(cine: Cine, labels: Mapping[int, LabelImage], values: Values) -> Scale:
    """Return the pixel size that holds for the LV cavity on all frames."""
    found = {
        cine.calibration_of(label == values.cavity)
        for label in labels.values()
        if (label == values.cavity).any()
    }
    known = next(iter(found)) if len(found) == 1 else None
    if known is not None:
        by_hand = known.source == CALIBRATED_BY_HAND
        caveats = (Caveat(CaveatKind.CALIBRATED_BY_HAND),) if by_hand else ()
        return Scale((known.mm_per_px_y, known.mm_per_px_x), known, caveats)
    kind = CaveatKind.CALIBRATIONS_DIFFER if len(found) > 1 else CaveatKind.NO_CALIBRATION
    return Scale((cine.pixel_aspect, 1.0), None, (Caveat(kind),))


CALIBRATED_BY_HAND = "by hand"
"""`Calibration.source` of a calibration by hand."""


def frame_geometry(
    label: LabelImage,
    values: Values,
    spacing: tuple[float, float],
    *,
    landmarks: Landmarks | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> HeartGeometry | None:
    """Return the geometry of one frame, with landmarks set by hand if they are usable.

    Parameters
    ----------
    label : LabelImage
    values : Values
    spacing : (float, float)
        Height and width of a pixel, see `Scale`.
    landmarks : Landmarks or None
        Set by hand, in pixels.
    inside : (height, width) bool or None
        Pixels of the ultrasound sector.
    """
    axis = None
    if landmarks is not None:
        try:
            axis = from_pixels(landmarks, spacing)
        except ValueError:
            axis = None
    return heart_geometry(label, values, spacing, axis=axis, inside=inside)


def measure_cine(
    cine: Cine,
    labels: Mapping[int, LabelImage],
    values: Values,
    *,
    frames: tuple[int, int] | None = None,
    landmarks: Mapping[int, Landmarks] | None = None,
    inside: NDArray[np.bool_] | None = None,
    geometries: Geometries | None = None,
) -> CineMeasurement:
    """Measure a cine.

    Parameters
    ----------
    cine : Cine
        Gives pixel size, times and R waves; no frame is decoded.
    labels : mapping of int to LabelImage
        Label images by zero-based frame.
    values : Values
    frames : (int, int), optional
        Frames of end-diastole and end-systole; default those of the complete beats of the cine.
    landmarks : mapping of int to Landmarks, optional
        Set by hand, by frame.
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector.
    geometries : mapping, optional
        Geometry of frames that was computed before, with `frame_geometry` and `scale_of`.
    """
    scale = scale_of(cine, labels, values)
    caveats = list(scale.caveats)
    if cine.colour_doppler:
        caveats.append(Caveat(CaveatKind.COLOUR_DOPPLER))
    in_mm = scale.calibration is not None
    cavity = _sizes(cine.n_frames, labels, values.cavity)
    areas = cavity * scale.spacing[0] * scale.spacing[1] / MM2_PER_CM2 if in_mm else cavity
    cycle = _cycle(cine, cavity)
    beats = [beat for beat in cycle.beats if beat.ed in labels and beat.es in labels]
    if frames is not None:
        beats = [Beat(frames[0], frames[1], max(frames))]
    elif cine.timing.source is TimingSource.ASSUMED:
        caveats.append(Caveat(CaveatKind.ASSUMED_FRAME_RATE))
    if not beats:
        nothing = ViewMeasurement(None, None, caveats=(*caveats, Caveat(CaveatKind.NO_BEAT)))
        return CineMeasurement((nothing,), cycle, {}, in_mm, areas)
    atrium = np.full(cine.n_frames, np.nan)
    if values.atrium is not None:
        atrium = _sizes(cine.n_frames, labels, values.atrium)
    smallest = tuple(_smallest(atrium, beat) for beat in beats)
    wanted = {frame for beat in beats for frame in (beat.ed, beat.es)} | {
        f for f in smallest if f is not None
    }
    by_frame: dict[int, HeartGeometry | None] = {}
    for frame in sorted(wanted):
        if geometries is not None and frame in geometries:
            by_frame[frame] = geometries[frame]
        elif frame in labels:
            own = None if landmarks is None else landmarks.get(frame)
            by_frame[frame] = frame_geometry(
                labels[frame], values, scale.spacing, landmarks=own, inside=inside
            )
    measured = tuple(
        measure_view(
            by_frame.get(beat.ed),
            by_frame.get(beat.es),
            ed_frame=beat.ed,
            es_frame=beat.es,
            in_mm=in_mm,
            smallest_atrium=None if least is None else by_frame.get(least),
            heart_rate=cycle.heart_rate,
            caveats=tuple(caveats),
        )
        for beat, least in zip(beats, smallest, strict=True)
    )
    return CineMeasurement(measured, cycle, by_frame, in_mm, areas, smallest)


def _sizes(n_frames: int, labels: Mapping[int, LabelImage], value: int) -> NDArray[np.float64]:
    """Return the area of a structure by frame in pixels, (T,); nan where it is not labelled."""
    size = np.full(n_frames, np.nan)
    for frame, label in labels.items():
        size[frame] = np.count_nonzero(label == value)
    size[size == 0] = np.nan
    return size


def _cycle(cine: Cine, cavity: NDArray[np.float64]) -> Cycle:
    """Find the beats from R waves and the area of the cavity on the labelled frames."""
    if np.isfinite(cavity).mean() < LABELLED_SHARE:
        cavity = np.full_like(cavity, np.nan)
    is_assumed = cine.timing.source is TimingSource.ASSUMED
    r_waves: Sequence[float] | None = None if is_assumed else cine.r_waves_ms
    cycle = find_cycle(cavity, cine.timing.times_ms, r_waves)
    return replace(cycle, heart_rate=None) if is_assumed else cycle


def _smallest(atrium: NDArray[np.float64], beat: Beat) -> int | None:
    """Return the frame of the beat with the smallest atrium; None if too few frames show it."""
    first, last = min(beat.ed, beat.es), max(beat.end, beat.es)
    sizes = atrium[first : last + 1]
    if np.isfinite(sizes).mean() < LABELLED_SHARE:
        return None
    return first + int(np.nanargmin(sizes))
