"""Measurements of the left heart from one apical view or from two views of one study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Cine
from app.domain.facts import Landmarks
from app.domain.measure.biplane import BiplaneMeasurement, Method, measure_biplane
from app.domain.measure.caveats import Caveat, CaveatKind, unique
from app.domain.measure.cine_measurement import CineMeasurement, measure_cine
from app.domain.measure.disks import Disks, disks
from app.domain.measure.heart import HeartGeometry, Values
from app.domain.measure.intervals import Interval
from app.domain.views import FactSource, View
from vjepa_core.label_image import LabelImage

UNKNOWN = "unknown"
"""Name of a view that is not known."""


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
    """

    cine: Cine
    labels: Mapping[int, LabelImage]
    view: View | None = None
    view_source: FactSource | None = None
    frames: tuple[int, int] | None = None
    landmarks: Mapping[int, Landmarks] = field(default_factory=dict)
    structure_dice: Mapping[int, float] = field(default_factory=dict)
    expected_dice: Mapping[int, float] = field(default_factory=dict)
    is_human: frozenset[int] = frozenset()
    inside: NDArray[np.bool_] | None = None

    @property
    def name(self) -> str:
        """Name of the view in results."""
        return UNKNOWN if self.view is None else str(self.view)


@dataclass(frozen=True, eq=False)
class LeftHeart:
    """Measurements of one or two views.

    Attributes
    ----------
    views : dict of str to CineMeasurement
        By name of the view, in the given order.
    biplane : BiplaneMeasurement or None
        None with one view.
    intervals : dict of str to (float, float)
        90 % intervals by JSON path, such as "biplane.ef_percent".
    method : Method
    warnings : tuple of str
        Sentences for the user.
    """

    views: dict[str, CineMeasurement]
    biplane: BiplaneMeasurement | None
    intervals: dict[str, Interval]
    method: Method
    warnings: tuple[str, ...]


def measure_left_heart(
    views: Sequence[ViewInput], values: Values, *, method: Method = Method.ASE
) -> LeftHeart:
    """Measure one view, or two views of one study.

    Parameters
    ----------
    views : sequence of ViewInput
        One or two, of different views.
    values : Values
        Label values of the structures.
    method : Method
        Variant of the biplane method of disks.
    """
    measured = {
        view.name: measure_cine(view.cine, view.labels, values, frames=view.frames, inside=view.inside)
        for view in views
    }
    warnings: list[str] = []
    for view in views:
        caveats = [caveat for beat in measured[view.name].beats for caveat in beat.caveats]
        if view.view_source is None:
            caveats.append(Caveat(CaveatKind.UNKNOWN_VIEW))
        warnings += [f"{view.name}: {caveat.text}" for caveat in unique(caveats)]
    biplane = _biplane(list(measured.values()), method) if len(measured) == 2 else None
    if biplane is not None:
        warnings += [f"biplane: {caveat.text}" for caveat in biplane.caveats]
    return LeftHeart(measured, biplane, {}, method, tuple(warnings))


def _biplane(views: Sequence[CineMeasurement], method: Method) -> BiplaneMeasurement:
    one, other = views
    geometries = (one.ed, other.ed, one.es, other.es)
    if any(geometry is None for geometry in geometries):
        return BiplaneMeasurement(caveats=(Caveat(CaveatKind.NO_BEAT),))
    planes = [_planes(geometry, method) for geometry in geometries if geometry is not None]
    return measure_biplane(
        (planes[0], planes[1]), (planes[2], planes[3]), in_mm=one.in_mm and other.in_mm, method=method
    )


def _planes(geometry: HeartGeometry, method: Method) -> Disks:
    if method is Method.ASE:
        return geometry.disks
    return disks(geometry.cavity.points, geometry.axis.base, geometry.axis.apex, offset=0.0)
