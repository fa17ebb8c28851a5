"""Geometry of the left heart on one frame, as far as its label image allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.measure.caveats import CaveatKind
from app.domain.measure.contour import Contour, contour
from app.domain.measure.disks import Disks, area_length_ml, disks, single_plane_ml
from app.domain.measure.landmarks import AxisPoints, derive
from app.domain.measure.strain import free_border, midwall, segment_thickness_mm, wall_thickness_mm

LARGEST_FRAGMENT = 0.05
"""A structure with more of its area outside its largest part than this is fragmented."""

CLIPPED_SHARE = 0.08
"""A structure with more of its border than this at the edge of the sector or of the frame is clipped."""

SMALLEST_CAVITY_PX = 60
"""A cavity of fewer pixels is no left ventricle; in a picture of 112 x 112 pixels it has about 1000."""

SMALLEST_COVERED_SHARE = 0.5
"""A long axis whose disks cover less of the cavity than this does not belong to it."""

FARTHEST_SHARE = 0.35
"""A landmark farther from the contour than this share of the root of the cavity's area is misplaced."""

EDGE_PX = 2
"""Pixels this close to the outside belong to the edge."""


@dataclass(frozen=True)
class Values:
    """Values of the structures in the label images; None for a structure that the label set lacks."""

    cavity: int
    wall: int | None = None
    atrium: int | None = None


@dataclass(frozen=True, eq=False)
class HeartGeometry:
    """Left ventricle and left atrium on one frame; lengths in mm if the spacing was in mm.

    Attributes
    ----------
    cavity : Contour
    axis : AxisPoints
    disks : Disks
        Of the cavity, along `axis`.
    endocardium : (n, 2) float
        Border of the cavity without its base.
    midwall : (n, 2) float or None
        Middle of the wall, where one surrounds the cavity.
    thickness : float or None
        Mean thickness of the wall.
    segments : tuple of float or None
        Thickness of its six segments, see `segment_thickness_mm`; empty without a wall.
    wall_area_mm2 : float or None
        Area of the largest part of the wall.
    atrium : Contour or None
    atrial_disks : Disks or None
        Of the atrium, from the middle of the annulus to its farthest point.
    problems : tuple of CaveatKind
        Faults of the label image or of the landmarks, such as a fragmented or clipped cavity.
    """

    cavity: Contour
    axis: AxisPoints
    disks: Disks
    endocardium: NDArray[np.float64]
    midwall: NDArray[np.float64] | None
    thickness: float | None
    segments: tuple[float | None, ...]
    wall_area_mm2: float | None
    atrium: Contour | None
    atrial_disks: Disks | None
    problems: tuple[CaveatKind, ...]

    @property
    def volume_ml(self) -> float:
        """Single-plane volume of the ventricle by the method of disks."""
        return single_plane_ml(self.disks)

    @property
    def area_length_ml(self) -> float:
        """Volume of the ventricle by the area-length method."""
        return area_length_ml(self.cavity.area_mm2, self.axis.length_mm)

    @property
    def atrial_length_mm(self) -> float | None:
        """Long axis of the atrium, from the middle of the annulus to its farthest point."""
        return None if self.atrial_disks is None else self.atrial_disks.length_mm

    @property
    def atrial_volume_ml(self) -> float | None:
        """Single-plane volume of the atrium by the method of disks."""
        return None if self.atrial_disks is None else single_plane_ml(self.atrial_disks)


def heart_geometry(
    label: NDArray[np.uint8],
    values: Values,
    spacing_mm: tuple[float, float],
    *,
    axis: AxisPoints | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> HeartGeometry | None:
    """Measure the left heart on a label image.

    Parameters
    ----------
    label : (height, width) uint8
    values : Values
    spacing_mm : (float, float)
        Height and width of a pixel in mm; (aspect, 1) for ratios only where the size is unknown.
    axis : AxisPoints, optional
        Landmarks set by hand; default derived from the label image.
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector; default the whole frame.

    Returns
    -------
    HeartGeometry or None
        None where the label image shows no left ventricle.
    """
    is_cavity = label == values.cavity
    if np.count_nonzero(is_cavity) < SMALLEST_CAVITY_PX:
        return None
    cavity = contour(is_cavity, spacing_mm)
    if cavity is None:
        return None
    atrium = None if values.atrium is None else contour(label == values.atrium, spacing_mm)
    wall = None if values.wall is None else contour(label == values.wall, spacing_mm)
    problems = []
    if axis is not None and not _fits(axis, cavity):
        axis = None
        problems.append(CaveatKind.LANDMARKS_IGNORED)
    if axis is None:
        axis = derive(
            cavity.points,
            atrium=None if atrium is None else atrium.points,
            wall=None if wall is None else wall.points,
        )
        if not _fits(axis, cavity):
            return None
    endocardium = free_border(cavity.points, axis)
    middle, thickness = _wall(label, values, spacing_mm, endocardium) if wall is not None else (None, None)
    if cavity.fragment_share > LARGEST_FRAGMENT:
        problems.append(CaveatKind.FRAGMENTED)
    if clipped_share(is_cavity, inside) > CLIPPED_SHARE:
        problems.append(CaveatKind.CLIPPED)
    atrial_disks = None
    if atrium is not None:
        roof = atrium.points[np.linalg.norm(atrium.points - axis.base, axis=1).argmax()]
        atrial_disks = disks(atrium.points, axis.base, roof)
        if single_plane_ml(atrial_disks) <= 0.0:
            atrium, atrial_disks = None, None
        elif clipped_share(label == values.atrium, inside) > CLIPPED_SHARE:
            problems.append(CaveatKind.ATRIUM_CLIPPED)
    return HeartGeometry(
        cavity,
        axis,
        disks(cavity.points, axis.base, axis.apex),
        endocardium,
        middle,
        thickness,
        segment_thickness_mm(endocardium, middle, axis) if middle is not None else (),
        None if middle is None or wall is None else wall.area_mm2,
        atrium,
        atrial_disks,
        tuple(problems),
    )


def _fits(axis: AxisPoints, cavity: Contour) -> bool:
    """Return True if the landmarks lie near the contour and disks along the axis cut most of the cavity."""
    if axis.length_mm <= 0.0 or axis.annulus_mm <= 0.0:
        return False
    distances = [np.linalg.norm(cavity.points - p, axis=1).min() for p in (axis.left, axis.right, axis.apex)]
    if max(distances) > FARTHEST_SHARE * np.sqrt(cavity.area_mm2):
        return False
    cut = disks(cavity.points, axis.base, axis.apex)
    covered = float(cut.diameters_mm.mean()) * cut.length_mm
    return covered > SMALLEST_COVERED_SHARE * cavity.area_mm2


def _wall(
    label: NDArray[np.uint8],
    values: Values,
    spacing_mm: tuple[float, float],
    endocardium: NDArray[np.float64],
) -> tuple[NDArray[np.float64] | None, float | None]:
    """Middle and thickness of the wall; None where it does not surround the cavity."""
    outer = contour((label == values.cavity) | (label == values.wall), spacing_mm)
    if outer is None:
        return None, None
    try:
        middle = midwall(endocardium, outer.points)
    except ValueError:
        return None, None
    return middle, wall_thickness_mm(endocardium, middle)


def clipped_share(mask: NDArray[np.bool_], inside: NDArray[np.bool_] | None = None) -> float:
    """Share of a structure's border pixels, 0..1, that lie at the edge of the sector or of the frame.

    Parameters
    ----------
    mask : (height, width) bool
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector; default the whole frame.
    """
    border = mask & ~_eroded(mask)
    if not border.any():
        return 0.0
    whole = np.ones_like(mask) if inside is None else inside
    core = whole
    for _ in range(EDGE_PX):
        core = _eroded(core)
    return float((border & ~core).sum() / border.sum())


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose four neighbours belong to the mask too."""
    padded = np.pad(mask, 1)
    eroded: NDArray[np.bool_] = (
        mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    )
    return eroded
