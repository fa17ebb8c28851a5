"""Measurements of the left heart on one cine with label images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.domain.calibration import BY_HAND
from app.domain.cine import Calibration, Cine, TimingSource
from app.domain.facts import Landmarks
from app.domain.labels import LEFT_ATRIUM, LV_CAVITY, LV_MYOCARDIUM, LabelSet
from app.domain.measure.biplane import BeatPlane
from app.domain.measure.caveats import Caveat, CaveatKind
from app.domain.measure.cycle import Beat, Cycle, at_checked_frames, find_cycle
from app.domain.measure.frame_geometry import FrameGeometry, Geometries
from app.domain.measure.heart import HeartGeometry, Values
from app.domain.measure.view_measurement import MM2_PER_CM2, ViewMeasurement, measure_view
from vjepa_core.label_image import LabelImage

LABELLED_SHARE = 0.8
"""Beats are only sought in a cine, and the smallest atrium in a beat, with this share of frames labelled."""


@dataclass(frozen=True, eq=False)
class CineMeasurement:
    """Measurements of one cine.

    Attributes
    ----------
    beats : tuple of ViewMeasurement
        One per complete beat, or one for the frames that the user chose; never empty.
    cycle : Cycle
        Beats that were found, also if the user chose the frames.
    geometries : Geometries
    calibration : Calibration or None
        Pixel size of the measurements; None if they are ratios only.
    areas : (T,) float
        Area of the LV cavity by frame in cm2, or in pixels without a pixel size; nan where it is unknown.
    smallest_atria : tuple of int or None
        For each beat, the frame with the smallest atrium.
    """

    beats: tuple[ViewMeasurement, ...]
    cycle: Cycle
    geometries: Geometries
    calibration: Calibration | None
    areas: NDArray[np.float64]
    smallest_atria: tuple[int | None, ...] = (None,)

    @property
    def in_mm(self) -> bool:
        """Whether the geometry is in mm."""
        return self.calibration is not None

    @property
    def ed(self) -> HeartGeometry | None:
        """Geometry at end-diastole of the first beat."""
        return self.geometry(self.beats[0].ed_frame)

    @property
    def es(self) -> HeartGeometry | None:
        """Geometry at end-systole of the first beat."""
        return self.geometry(self.beats[0].es_frame)

    @cached_property
    def volumes(self) -> NDArray[np.float64] | None:
        """Single-plane volume of the LV by frame in ml, (T,), nan where it is unknown.

        None without a pixel size. All labelled frames that were not examined before are examined.
        """
        if self.calibration is None:
            return None
        volumes = np.full_like(self.areas, np.nan)
        for frame in self.geometries.frames:
            own = self.geometries.examined(frame)
            if own.heart is not None and own.calibration == self.calibration:
                volumes[frame] = own.heart.volume_ml
        return volumes

    def planes(self) -> tuple[BeatPlane, ...]:
        """Return the beats with their geometry, for biplane measurements."""
        return tuple(
            BeatPlane(
                beat,
                self.geometry(beat.ed_frame),
                self.geometry(beat.es_frame),
                self.geometry(smallest),
                self.calibration,
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
        """Return the geometry of a frame; None where no left ventricle is labelled."""
        return None if frame is None else self.geometries.heart(frame, self.calibration)


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
    checked: frozenset[int] = frozenset(),
    landmarks: Mapping[int, Landmarks] | None = None,
    inside: NDArray[np.bool_] | None = None,
    known: Mapping[int, FrameGeometry] | None = None,
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
    checked : frozenset of int
        Frames whose LV cavity was drawn or accepted: they are preferred as end-diastole and end-systole.
    landmarks : mapping of int to Landmarks, optional
        Set by hand, by frame.
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector.
    known : mapping of int to FrameGeometry, optional
        Results of `examine_frame` for the same input; other frames are examined when they are needed.
    """
    geometries = Geometries(cine, labels, values, landmarks=landmarks or {}, inside=inside, known=known or {})
    cavity = geometries.cavity_px()
    labelled = float(np.isfinite(cavity).mean())
    cycle = _cycle(cine, cavity if labelled >= LABELLED_SHARE else np.full_like(cavity, np.nan))
    cycle = at_checked_frames(cycle, checked & labels.keys(), cine.timing.times_ms)
    beats = [beat for beat in cycle.beats if beat.ed in labels and beat.es in labels]
    if frames is not None:
        beats = [Beat(frames[0], frames[1], max(frames))]
    used = [frame for beat in beats for frame in (beat.ed, beat.es)]
    used = used or np.flatnonzero(np.isfinite(cavity))[:1].tolist()
    calibration, caveats = _calibrated([geometries.examined(frame) for frame in used])
    areas = cavity
    if calibration is not None:
        areas = cavity * calibration.mm_per_px_x * calibration.mm_per_px_y / MM2_PER_CM2
    if cine.colour_doppler:
        caveats.append(Caveat(CaveatKind.COLOUR_DOPPLER))
    if frames is None and cine.timing.source is TimingSource.ASSUMED and cine.n_frames > 1:
        caveats.append(Caveat(CaveatKind.ASSUMED_FRAME_RATE))
    if not beats:
        reason = _no_beat(cine.n_frames, labelled)
        nothing = ViewMeasurement(None, None, caveats=(*caveats, reason))
        return CineMeasurement((nothing,), cycle, geometries, calibration, areas)
    atrium = geometries.atrium_px()
    smallest = tuple(_smallest(atrium, beat) for beat in beats)
    measured = tuple(
        measure_view(
            geometries.heart(beat.ed, calibration),
            geometries.heart(beat.es, calibration),
            ed_frame=beat.ed,
            es_frame=beat.es,
            in_mm=calibration is not None,
            smallest_atrium=None if least is None else geometries.heart(least, calibration),
            heart_rate=cycle.heart_rate,
            caveats=tuple(caveats),
        )
        for beat, least in zip(beats, smallest, strict=True)
    )
    return CineMeasurement(measured, cycle, geometries, calibration, areas, smallest)


def _calibrated(frames: Iterable[FrameGeometry]) -> tuple[Calibration | None, list[Caveat]]:
    """Return the pixel size that holds for the LV cavity on all frames, and caveats about it."""
    found = {frame.calibration for frame in frames if frame.cavity_px}
    if len(found) > 1:
        return None, [Caveat(CaveatKind.CALIBRATIONS_DIFFER)]
    calibration = next(iter(found), None)
    if calibration is None:
        return None, [Caveat(CaveatKind.NO_CALIBRATION)]
    by_hand = calibration.source == BY_HAND
    return calibration, [Caveat(CaveatKind.CALIBRATED_BY_HAND)] if by_hand else []


def _no_beat(n_frames: int, labelled: float) -> Caveat:
    """Return why there is no beat; `labelled` is the share of frames with an LV cavity."""
    if labelled == 0.0:
        return Caveat(CaveatKind.NO_VENTRICLE)
    if n_frames == 1:
        return Caveat(CaveatKind.ONE_FRAME)
    if labelled < LABELLED_SHARE:
        return Caveat(CaveatKind.FEW_LABELS, value=100.0 * labelled)
    return Caveat(CaveatKind.NO_BEAT)


def _cycle(cine: Cine, cavity: NDArray[np.float64]) -> Cycle:
    """Find the beats from R waves and the area of the cavity on the labelled frames."""
    is_timed = cine.timing.source is not TimingSource.ASSUMED
    return find_cycle(cavity, cine.timing.times_ms, cine.r_waves_ms, timed=is_timed)


def _smallest(atrium: NDArray[np.float64], beat: Beat) -> int | None:
    """Return the frame of the beat with the smallest atrium; None if too few frames show it."""
    first, last = min(beat.ed, beat.es), max(beat.end, beat.es)
    sizes = atrium[max(first, 0) : last + 1]
    if not sizes.size or np.isfinite(sizes).mean() < LABELLED_SHARE:
        return None
    return max(first, 0) + int(np.nanargmin(sizes))
