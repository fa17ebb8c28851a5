"""Sub-pixel contours of structures in millimetres, and areas and lengths measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import contourpy
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Points (n, 2) as (y, x) in mm; y grows downwards."""

SMOOTHING_PX = 1.0
"""Standard deviation in pixels of the Gaussian that removes the pixel steps from a mask's border."""


@dataclass(frozen=True, eq=False)
class Contour:
    """Closed outline of the largest part of a structure.

    Attributes
    ----------
    points : (n, 2) float
        Vertices (y, x) in mm, without repeating the first one.
    parts : tuple of float
        Areas in mm2 of all parts of the structure, largest first; `points` belongs to the first.
    """

    points: Points
    parts: tuple[float, ...]

    @property
    def area_mm2(self) -> float:
        """Area of the largest part in mm2."""
        return abs(signed_area_mm2(self.points))

    @property
    def perimeter_mm(self) -> float:
        """Length of the closed outline in mm."""
        return length_mm(np.vstack([self.points, self.points[:1]]))

    @property
    def fragment_share(self) -> float:
        """Share of the structure's area that lies outside its largest part, 0..1."""
        return 1.0 - self.parts[0] / sum(self.parts)


def contour(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> Contour | None:
    """Trace the border of a structure between the pixels.

    The mask is smoothed and its half level is traced (marching squares). Smoothing moves a border of
    curvature radius R inwards by about SMOOTHING_PX**2 / (2 R), so the contour is scaled about its centroid
    to the area of its pixels, which is unbiased.

    Parameters
    ----------
    mask : (height, width) bool
    spacing_mm : (float, float)
        Height and width of a pixel in mm.

    Returns
    -------
    Contour or None
        None where the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    margin = 4
    y0, x0 = rows[0] - margin, columns[0] - margin
    window = np.zeros((rows[-1] - rows[0] + 1 + 2 * margin, columns[-1] - columns[0] + 1 + 2 * margin))
    window[margin:-margin, margin:-margin] = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    spacing = np.array(spacing_mm)
    loops = [(line[:-1, ::-1] + (y0, x0)) * spacing for line in _lines(_smoothed(window)) if len(line) > 3]
    # Outer borders run the other way round than the borders of holes.
    outer = [loop for loop in loops if signed_area_mm2(loop) * _outer_sign() > 0]
    if not outer:  # too thin to survive the smoothing
        return None
    outer.sort(key=lambda loop: -abs(signed_area_mm2(loop)))
    areas = [abs(signed_area_mm2(loop)) for loop in outer]
    holes = sum(abs(signed_area_mm2(loop)) for loop in loops) - sum(areas)
    pixels = float(mask.sum()) * spacing[0] * spacing[1]
    scale = np.sqrt((pixels + holes) / sum(areas))
    centre = centroid(outer[0])
    return Contour(centre + scale * (outer[0] - centre), tuple(scale**2 * area for area in areas))


def signed_area_mm2(points: Points) -> float:
    """Area of a closed polygon by the shoelace formula, signed by its direction."""
    y, x = points.T
    return float(0.5 * np.sum(y * np.roll(x, -1) - np.roll(y, -1) * x))


def centroid(points: Points) -> Points:
    """Centre of area (y, x) of a closed polygon."""
    following = np.roll(points, -1, axis=0)
    cross = points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]
    centre: Points = ((points + following) * cross[:, None]).sum(0) / (3.0 * cross.sum())
    return centre


def length_mm(path: Points) -> float:
    """Length of an open path through the points in mm."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def resampled(path: Points, n: int) -> Points:
    """Return `n` points at equal distances along an open path, both ends included."""
    steps = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    wanted = np.linspace(0.0, steps[-1], n)
    return np.stack([np.interp(wanted, steps, path[:, axis]) for axis in (0, 1)], axis=1)


def _smoothed(window: NDArray[np.float64]) -> NDArray[np.float64]:
    radius = 3
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / SMOOTHING_PX) ** 2)
    kernel /= kernel.sum()
    for _ in (0, 1):  # along the first axis, then along the other one
        padded = np.pad(window, ((radius, radius), (0, 0)))
        shifted = np.zeros_like(window)
        for start, weight in enumerate(kernel):
            shifted += weight * padded[start : start + len(window)]
        window = shifted.T
    return window


def _lines(field: NDArray[np.float64]) -> list[Points]:
    """Trace the lines of a field at 0.5, as (column, row); closed lines repeat their first point."""
    generator = contourpy.contour_generator(z=field, line_type=contourpy.LineType.Separate)
    return [np.asarray(line, np.float64) for line in generator.lines(0.5)]


@cache
def _outer_sign() -> float:
    """Direction in which contourpy traces an outer border, as the sign of its area in (y, x)."""
    square = np.zeros((3, 3))
    square[1, 1] = 1.0
    return float(np.sign(signed_area_mm2(_lines(square)[0][:-1, ::-1])))
