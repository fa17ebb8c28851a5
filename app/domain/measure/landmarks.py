"""Mitral hinge points and apex, derived from a label image or set by hand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.domain.facts import Landmarks, Point
from app.domain.measure.contour import Points, length_mm

WIDEST_GAP_MM = 3.0
"""Structures farther apart than this are not neighbours: predicted masks leave gaps of a few pixels."""

TOLERANCE_MM = 0.8
"""A vertex belongs to a shared border if its gap exceeds the usual gap of that border by less than this."""

BRIDGED_MM = 5.0
"""Interruptions of a shared border up to this length are ignored."""

SHORTEST_BASE_MM = 8.0
"""A shared border shorter than this is not a mitral annulus."""


class Source(StrEnum):
    """Origin of landmarks."""

    ATRIUM = "border of left ventricle and left atrium"
    WALL = "ends of the wall"
    SHAPE = "shape of the cavity"
    MANUAL = "set by hand"


@dataclass(frozen=True, eq=False)
class AxisPoints:
    """Hinge points of the mitral valve and apex of a left ventricle on one frame, (y, x) in mm.

    Attributes
    ----------
    left, right : (2,) float
        Hinge points; left as displayed.
    apex : (2,) float
    source : Source
        Origin of the hinge points.
    """

    left: Points
    right: Points
    apex: Points
    source: Source

    @property
    def base(self) -> Points:
        """Middle of the annulus."""
        middle: Points = (self.left + self.right) / 2.0
        return middle

    @property
    def length_mm(self) -> float:
        """Length of the long axis, from the middle of the annulus to the apex."""
        return float(np.linalg.norm(self.apex - self.base))

    @property
    def annulus_mm(self) -> float:
        """Distance of the hinge points."""
        return float(np.linalg.norm(self.right - self.left))


def from_pixels(landmarks: Landmarks, spacing_mm: tuple[float, float]) -> AxisPoints:
    """Return landmarks that were set by hand, in mm.

    Parameters
    ----------
    landmarks : Landmarks
        In pixels.
    spacing_mm : (float, float)
        Height and width of a pixel in mm.
    """
    points = [
        np.array([y * spacing_mm[0], x * spacing_mm[1]]) for x, y in (*landmarks.hinge_points, landmarks.apex)
    ]
    left, right = sorted(points[:2], key=lambda point: float(point[1]))
    return AxisPoints(left, right, points[2], Source.MANUAL)


def to_pixels(axis: AxisPoints, spacing_mm: tuple[float, float]) -> tuple[Point, Point, Point]:
    """Return left and right hinge point and apex as (column, row) in pixels."""
    left, right, apex = (
        (float(point[1] / spacing_mm[1]), float(point[0] / spacing_mm[0]))
        for point in (axis.left, axis.right, axis.apex)
    )
    return left, right, apex


def derive(cavity: Points, *, atrium: Points | None = None, wall: Points | None = None) -> AxisPoints:
    """Find the hinge points and the apex of a left ventricle.

    The hinge points are the ends of the border that the cavity shares with the atrium, else the ends of the
    part of its contour that no wall adjoins, else the corners of its lower end (apex towards the probe). The
    apex is the point of the contour farthest from the middle of the annulus.

    Parameters
    ----------
    cavity : (n, 2) float
        Closed contour of the LV cavity, (y, x) in mm.
    atrium, wall : (m, 2) float, optional
        Closed contours of the left atrium and of the LV myocardium.
    """
    ends, source = None, Source.SHAPE
    if atrium is not None:
        # Most of the cavity's contour is far from the atrium, most of it is next to the wall.
        ends, source = _ends_of_arc(cavity, _near(cavity, atrium, usual=0)), Source.ATRIUM
    if ends is None and wall is not None:
        ends, source = _ends_of_arc(cavity, ~_near(cavity, wall, usual=50)), Source.WALL
    if ends is None:
        ends, source = _corners(cavity), Source.SHAPE
    left, right = sorted(ends, key=lambda point: float(point[1]))
    middle = (left + right) / 2.0
    apex = cavity[np.linalg.norm(cavity - middle, axis=1).argmax()]
    return AxisPoints(left, right, apex, source)


def _near(points: Points, others: Points, *, usual: float) -> NDArray[np.bool_]:
    """Vertices that border on another structure; `usual` is the percentile of the gap along that border."""
    products = points @ others.T  # much faster than the differences of all pairs
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2.0 * products
    gaps = np.sqrt(np.maximum(squares.min(1), 0.0))
    gap = float(np.percentile(gaps, usual))
    near: NDArray[np.bool_] = gaps <= (gap + TOLERANCE_MM if gap <= WIDEST_GAP_MM else 0.0)
    return near


def _ends_of_arc(points: Points, chosen: NDArray[np.bool_]) -> tuple[Points, Points] | None:
    """Return the ends of the longest run of chosen vertices of a closed contour; short gaps are bridged."""
    if not chosen.any() or chosen.all():
        return None
    start = int(np.flatnonzero(~chosen)[0])
    points, chosen = np.roll(points, -start, axis=0), np.roll(chosen, -start)
    edges = np.flatnonzero(np.diff(np.r_[False, chosen, False].astype(np.int8)))
    runs: list[list[int]] = []
    for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
        if runs and length_mm(points[runs[-1][1] : first + 1]) <= BRIDGED_MM:
            runs[-1][1] = int(last)
        else:
            runs.append([int(first), int(last)])
    first, last = max(runs, key=lambda run: length_mm(points[run[0] : run[1] + 1]))
    if np.linalg.norm(points[last] - points[first]) < SHORTEST_BASE_MM:
        return None
    return points[first], points[last]


def _corners(points: Points) -> tuple[Points, Points]:
    """Return the lower corners of a cavity, left and right of its principal axis."""
    centred = points - points.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    axis = axis if axis[0] > 0 else -axis  # from the apex, which is nearer to the probe, to the base
    across = np.array([-axis[1], axis[0]])
    down, side = centred @ axis, centred @ across
    return points[(down - side).argmax()], points[(down + side).argmax()]
