"""Longitudinal strain from contours, and motion of the mitral annulus.

Contours carry no material points: these are changes of length of drawn lines, not speckle tracking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.domain.measure.contour import Points, length_mm, resampled
from app.domain.measure.landmarks import AxisPoints

N_POINTS = 101

THINNEST_WALL_MM = 1.0
"""Where the labelled wall is thinner, there is none."""


def free_border(cavity: Points, axis: AxisPoints) -> Points:
    """Endocardial line from the left hinge point over the apex to the right one, without the base.

    Parameters
    ----------
    cavity : (n, 2) float
        Closed contour of the LV cavity, (y, x) in mm.
    axis : AxisPoints

    Returns
    -------
    (101, 2) float
        Points at equal distances.
    """
    left = int(np.linalg.norm(cavity - axis.left, axis=1).argmin())
    right = int(np.linalg.norm(cavity - axis.right, axis=1).argmin())
    apex = int(np.linalg.norm(cavity - axis.apex, axis=1).argmin())
    n = len(cavity)
    path = np.arange(left, left + (right - left) % n + 1) % n
    if apex not in path:  # the other way round
        path = np.arange(left, left - (left - right) % n - 1, -1) % n
    return resampled(np.vstack([axis.left, cavity[path], axis.right]), N_POINTS)


def midwall(endocardium: Points, wall: Points) -> Points:
    """Line halfway between the endocardial line and the outer border of the wall.

    Parameters
    ----------
    endocardium : (n, 2) float
        As from `free_border`.
    wall : (m, 2) float
        Closed contour of the union of cavity and myocardium, (y, x) in mm.
    """
    tangents = np.gradient(endocardium, axis=0)
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    centre = endocardium.mean(0)
    outward = np.sign(np.sum(normals * (endocardium - centre), axis=1, keepdims=True))
    directions = normals * outward
    thickness = _ray_lengths(endocardium, directions, wall)
    known = ~np.isnan(thickness)
    if not known.any():
        raise ValueError("the wall does not surround the cavity")
    index = np.arange(len(thickness))
    thickness = np.interp(index, index[known], thickness[known])
    middle: Points = endocardium + 0.5 * thickness[:, None] * directions
    return middle


def wall_thickness_mm(endocardium: Points, middle: Points) -> float:
    """Mean thickness of the wall in mm: twice the distance of an endocardial line to its `midwall`."""
    return float(2.0 * np.linalg.norm(middle - endocardium, axis=1).mean())


def segment_thickness_mm(endocardium: Points, middle: Points, axis: AxisPoints) -> tuple[float | None, ...]:
    """Mean thickness of the wall in its six segments, in mm.

    The long axis is divided into thirds (Lang et al. 2015, 10.1016/j.echo.2014.10.003).

    Parameters
    ----------
    endocardium, middle : (n, 2) float
        As from `free_border` and `midwall`.
    axis : AxisPoints

    Returns
    -------
    tuple of float or None
        Basal, mid and apical segment of the left wall, then of the right wall, as displayed; None for a
        segment along most of which no wall is labelled.
    """
    thickness = 2.0 * np.linalg.norm(middle - endocardium, axis=1)
    along = (axis.apex - axis.base) / axis.length_mm
    third = np.clip((endocardium - axis.base) @ along / axis.length_mm * 3, 0, 2).astype(int)
    apex = int(np.linalg.norm(endocardium - axis.apex, axis=1).argmin())
    is_left = np.arange(len(endocardium)) <= apex
    values: list[float | None] = []
    for side in (is_left, ~is_left):
        for level in range(3):
            chosen = thickness[side & (third == level)]
            labelled = chosen[chosen >= THINNEST_WALL_MM]
            values.append(float(labelled.mean()) if labelled.size > chosen.size / 2 else None)
    return tuple(values)


def strain_percent(line_ed: Points, line_es: Points) -> float:
    """Global longitudinal strain in percent, 100 * (L_ES - L_ED) / L_ED; negative where the line shortens.

    EACVI/ASE strain consensus 2025, 10.1016/j.echo.2025.07.007; the caller states the layer.
    """
    ed = length_mm(line_ed)
    return 100.0 * (length_mm(line_es) - ed) / ed


def annular_excursion_mm(ed: AxisPoints, es: AxisPoints) -> tuple[float, float]:
    """Mitral annular plane systolic excursion at the left and the right hinge point, in mm.

    Travel of each hinge point along the end-diastolic long axis, positive towards the apex.
    """
    along = (ed.apex - ed.base) / ed.length_mm
    return float((es.left - ed.left) @ along), float((es.right - ed.right) @ along)


def _ray_lengths(starts: Points, directions: Points, polygon: Points) -> NDArray[np.float64]:
    """Distances (n,) from points along unit directions to the nearest crossing of a polygon; nan for none."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    to_y, to_x = (polygon[:, axis] - starts[:, axis, None] for axis in (0, 1))
    along_y, along_x = directions[:, :1], directions[:, 1:]
    cross = along_y * edge[:, 1] - along_x * edge[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (to_y * edge[:, 1] - to_x * edge[:, 0]) / cross
        share = (to_y * along_x - to_x * along_y) / cross
    hit = (share >= 0) & (share <= 1) & (distance > 1e-9) & np.isfinite(distance)
    nearest: NDArray[np.float64] = np.where(hit, distance, np.inf).min(1)
    nearest[np.isinf(nearest)] = np.nan
    return nearest
