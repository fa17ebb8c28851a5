"""Measured geometry, which is in mm, as positions in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box
from app.domain.facts import Landmarks
from app.domain.measure.heart import HeartGeometry
from app.domain.measure.landmarks import AxisPoints, to_pixels
from app.domain.views import FactSource
from app.ui.measure.landmark_handles import AxisMarks
from app.ui.measure.phase_pictures import PhaseGeometry

MARGIN = 0.25
"""Space above and below the ventricle in a small picture together, as a share of its height."""


def axis_marks(axis: AxisPoints, spacing: tuple[float, float], *, is_manual: bool) -> AxisMarks:
    """Return landmarks in pixels; `spacing` is height and width of a pixel in the unit of the axis."""
    return AxisMarks(*to_pixels(axis, spacing), is_manual)


def phase_geometry(
    geometry: HeartGeometry, spacing: tuple[float, float], *, is_manual: bool = False
) -> PhaseGeometry:
    """Return contour, disks and axis in pixels; `spacing` as for `axis_marks`."""
    return PhaseGeometry(
        _pixels(geometry.cavity.points, spacing),
        _pixels(geometry.disks.ends, spacing),
        axis_marks(geometry.axis, spacing, is_manual=is_manual),
    )


def landmarks_of(marks: AxisMarks) -> Landmarks:
    """Return landmarks that a human has set."""
    return Landmarks((marks.left, marks.right), marks.apex, FactSource.MANUAL)


def marks_of(landmarks: Landmarks) -> AxisMarks:
    """Return landmarks of a project as marks on the picture, ordered from left to right."""
    left, right = sorted(landmarks.hinge_points)
    return AxisMarks(left, right, landmarks.apex, is_manual=landmarks.source is FactSource.MANUAL)


def _pixels(points: NDArray[np.float64], spacing: tuple[float, float]) -> NDArray[np.float64]:
    """Turn (y, x) in mm into (column, row) in pixels."""
    pixels: NDArray[np.float64] = (points / np.asarray(spacing))[..., ::-1]
    return pixels


def around(geometries: list[PhaseGeometry], region: Box, aspect: float, ratio: float) -> Box:
    """Return the part of a region that shows ventricles with some space around them; the region without any.

    End-diastole and end-systole share it, so that their pictures have one scale.

    Parameters
    ----------
    geometries : list of PhaseGeometry
    region : Box
    aspect : float
        Height of a pixel divided by its width.
    ratio : float
        Width of the picture divided by its height.
    """
    if not geometries:
        return region
    points = np.vstack([geometry.contour for geometry in geometries])
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    height = (1 + MARGIN) * (y1 - y0)
    width = max(height * aspect * ratio, x1 - x0)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    left, right = _clamped(middle_x - width / 2, middle_x + width / 2, region.x0, region.x1)
    top, bottom = _clamped(middle_y - height / 2, middle_y + height / 2, region.y0, region.y1)
    return Box(left, top, right, bottom)


def _clamped(start: float, stop: float, low: int, high: int) -> tuple[int, int]:
    """Move a range into limits, and shorten it only if it does not fit."""
    start, stop = (low, low + stop - start) if start < low else (start, stop)
    start, stop = (high - (stop - start), high) if stop > high else (start, stop)
    return max(low, int(start)), min(high, int(stop) + 1)
