"""Measurements of the left heart from one apical view or from two views of one study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Cine
from app.domain.facts import Landmarks
from app.domain.measure.biplane import BiplaneMeasurement, Method, measure_biplane
from app.domain.measure.body_size import BodySize
from app.domain.measure.caveats import Caveat, CaveatKind, sentences
from app.domain.measure.cine_measurement import CineMeasurement, measure_cine
from app.domain.measure.frame_geometry import FrameGeometry
from app.domain.measure.heart import Values
from app.domain.measure.intervals import Interval, Mask
from app.domain.measure.measurement_intervals import biplane_intervals, view_intervals
from app.domain.measure.view_measurement import ViewMeasurement
from app.domain.views import FactSource, View
from vjepa_core.label_image import LabelImage

UNKNOWN = "unknown"
"""Name of a view that is not known."""

LOW_DICE = 0.8
"""Expected Dice below which a mask is named as uncertain."""

APICAL = (View.A4C, View.A2C, View.A3C)
"""Views for which the method of disks is defined."""

BIPLANE = {View.A4C, View.A2C}
"""Views that biplane volumes are computed from."""


@dataclass(frozen=True, eq=False)
class ViewInput:
    """Cine, label images and facts that a view is measured from.

    Attributes
    ----------
    cine : Cine
        Gives pixel size and times; a calibration by hand is part of its regions.
    labels : mapping of int to LabelImage
        Shown masks by zero-based frame.
    view : View or None
    view_source : FactSource or None
        None if the view is assumed.
    frames : (int, int) or None
        Frames of end-diastole and end-systole chosen by hand; None to find the beats.
    beat : int
        Index of the beat that is shown first, if there are several.
    landmarks : mapping of int to Landmarks
        Landmarks set by hand, by frame.
    structure_dice : mapping of int to float
        Dice of the LV cavity expected from the softmax, by frame with a predicted cavity.
    expected_dice : mapping of int to float
        Expected Dice of predicted frames.
    is_human : frozenset of int
        Frames whose LV cavity was drawn or accepted.
    inside : (height, width) bool or None
        Pixels of the ultrasound sector.
    known : mapping of int to FrameGeometry
        Results of `examine_frame` for this cine, its labels, landmarks and sector; other frames are examined
        when they are needed.
    """

    cine: Cine
    labels: Mapping[int, LabelImage]
    view: View | None = None
    view_source: FactSource | None = None
    frames: tuple[int, int] | None = None
    beat: int = 0
    landmarks: Mapping[int, Landmarks] = field(default_factory=dict)
    structure_dice: Mapping[int, float] = field(default_factory=dict)
    expected_dice: Mapping[int, float] = field(default_factory=dict)
    is_human: frozenset[int] = frozenset()
    inside: NDArray[np.bool_] | None = None
    known: Mapping[int, FrameGeometry] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the view in results."""
        return UNKNOWN if self.view is None else str(self.view)

    def mask(self, frame: int) -> Mask:
        """Return what is known about the mask of a frame."""
        return Mask(frame in self.is_human, self.structure_dice.get(frame))


@dataclass(frozen=True, eq=False)
class LeftHeart:
    """Measurements of one or two views.

    Attributes
    ----------
    views : dict of str to CineMeasurement
        By name of the view, in the given order; the beat that is shown is the first of its beats.
    view_sources : dict of str to (FactSource or None)
        Origin of each view; None if it is assumed.
    biplane : BiplaneMeasurement or None
        Of the first beats; None with one view.
    biplane_beats : tuple of BiplaneMeasurement
        Of all pairs of beats, in order.
    intervals : dict of str to (float, float)
        90 % intervals by JSON path, such as "biplane.ef_percent".
    method : Method
    body : BodySize or None
    warnings : tuple of str
        Sentences for the user.
    """

    views: dict[str, CineMeasurement]
    biplane: BiplaneMeasurement | None
    intervals: dict[str, Interval]
    method: Method
    warnings: tuple[str, ...]
    view_sources: dict[str, FactSource | None] = field(default_factory=dict)
    biplane_beats: tuple[BiplaneMeasurement, ...] = ()
    body: BodySize | None = None


def measure_left_heart(
    views: Sequence[ViewInput],
    values: Values,
    *,
    method: Method = Method.ASE,
    body: BodySize | None = None,
) -> LeftHeart:
    """Measure one view, or two views of one study.

    Parameters
    ----------
    views : sequence of ViewInput
        One or two.
    values : Values
        Label values of the structures.
    method : Method
        Variant of the biplane method of disks.
    body : BodySize, optional
        For indexing.

    Raises
    ------
    ValueError
        If there are not one or two views.
    """
    if len(views) not in (1, 2):
        raise ValueError("one or two views are measured")
    named = _named(views)
    measured = {name: _measure(view, values) for name, view in named.items()}
    beats: tuple[BiplaneMeasurement, ...] = ()
    if len(views) == 2:
        beats = (
            _biplane_beats(list(measured.values()), method)
            if _are_biplane(*views)
            else (BiplaneMeasurement(caveats=(Caveat(CaveatKind.NOT_BIPLANE),)),)
        )
    biplane = beats[0] if beats else None
    intervals: dict[str, Interval] = {}
    warnings: list[str] = []
    for name, view in named.items():
        result = measured[name]
        intervals |= view_intervals(name, result, view.mask)
        caveats = [caveat for beat in result.beats for caveat in beat.caveats]
        caveats += _mask_caveats(view, result)
        if view.view_source is None:
            caveats.append(Caveat(CaveatKind.UNKNOWN_VIEW))
        warnings += [f"{name}: {text}" for text in sentences(caveats)]
    if biplane is not None:
        masks = [view.mask(frame) for name, view in named.items() for frame in _frames(measured[name])]
        intervals |= biplane_intervals(biplane, masks)
        warnings += [f"biplane: {text}" for text in sentences(biplane.caveats)]
    sources = {name: view.view_source for name, view in named.items()}
    return LeftHeart(measured, biplane, intervals, method, tuple(warnings), sources, beats, body)


def _named(views: Sequence[ViewInput]) -> dict[str, ViewInput]:
    """Return the views by name; the second of two equal names is numbered."""
    names = [view.name for view in views]
    if len(views) == 2 and names[0] == names[1]:
        names[1] = f"{names[1]} 2"
    return dict(zip(names, views, strict=True))


def _are_biplane(one: ViewInput, other: ViewInput) -> bool:
    """Return True if two views can be A4C and A2C; one of them may be unknown."""
    return one.view is not other.view and {one.view, other.view} <= {*BIPLANE, None}


def _measure(view: ViewInput, values: Values) -> CineMeasurement:
    measured = measure_cine(
        view.cine,
        view.labels,
        values,
        frames=view.frames,
        checked=view.is_human,
        landmarks=view.landmarks,
        inside=view.inside,
        known=view.known,
    )
    if view.view is not None and view.view not in APICAL:
        nothing = ViewMeasurement(None, None, caveats=(Caveat(CaveatKind.NOT_APICAL),))
        return replace(measured, beats=(nothing,), smallest_atria=(None,))
    return measured.with_first(view.beat)


def _frames(measured: CineMeasurement) -> list[int]:
    """Return the frames of end-diastole and end-systole of the first beat."""
    beat = measured.beats[0]
    return [frame for frame in (beat.ed_frame, beat.es_frame) if frame is not None]


def _mask_caveats(view: ViewInput, measured: CineMeasurement) -> list[Caveat]:
    """Return caveats about the masks of the first beat."""
    caveats = []
    for frame in _frames(measured):
        if frame not in view.is_human and frame in view.expected_dice:
            dice = view.expected_dice[frame]
            low = Caveat(CaveatKind.LOW_CONFIDENCE, frame, dice)
            caveats.append(low if dice < LOW_DICE else Caveat(CaveatKind.UNCHECKED, frame))
    return caveats


def _biplane_beats(views: Sequence[CineMeasurement], method: Method) -> tuple[BiplaneMeasurement, ...]:
    """Pair the beats of two views in order; the first pair always exists."""
    one, other = views
    rates = [view.cycle.heart_rate for view in views if view.cycle.heart_rate is not None]
    rate = sum(rates) / len(rates) if rates else None
    planes = zip(one.planes(), other.planes(), strict=False)
    return tuple(measure_biplane(a, b, method=method, heart_rate=rate) for a, b in planes)
