"""Masks from brush strokes and outlines.

Coordinates are continuous image pixels (x right, y down): pixel (row, column) covers the square from
(column, row) to (column + 1, row + 1), so its centre is at (column + 0.5, row + 0.5). A pixel belongs to a
shape if its centre does, so that areas have no half-pixel bias, unlike those of `cv2.fillPoly`, which adds
every pixel that the border touches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Mask = NDArray[np.bool_]

MIN_RADIUS = 0.5


def stamp_segment(
    mask: Mask, start: Point, end: Point, radius: float, pixel_aspect: float = 1.0
) -> tuple[slice, slice]:
    """Add a brush stroke from one point to another to a mask, in place.

    Parameters
    ----------
    mask : ndarray of bool
        Shape (height, width), bool; modified in place.
    start, end : tuple of float
        Points (x, y) in pixels; equal for a single dot.
    radius : float
        Radius in pixel widths, at least half a pixel, so that a stroke has no gaps.
    pixel_aspect : float
        Height of a pixel divided by its width: the brush is round in millimetres.

    Returns
    -------
    tuple of slice
        Rows and columns of the pixels that may have changed; empty if the stroke is outside the image.
    """
    height, width = mask.shape
    radius = max(radius, MIN_RADIUS, MIN_RADIUS * pixel_aspect)
    rows = radius / pixel_aspect
    (ax, ay), (bx, by) = start, end
    x0 = int(np.clip(np.floor(min(ax, bx) - radius), 0, width))
    x1 = int(np.clip(np.ceil(max(ax, bx) + radius), x0, width))
    y0 = int(np.clip(np.floor(min(ay, by) - rows), 0, height))
    y1 = int(np.clip(np.ceil(max(ay, by) + rows), y0, height))
    box = slice(y0, y1), slice(x0, x1)
    if x0 == x1 or y0 == y1:
        return box
    # Distance from every pixel centre in the box to the segment.
    x = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - ax)
    y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - ay)
    y *= np.float32(pixel_aspect)  # in pixel widths, like x
    dx, dy = np.float32(bx - ax), np.float32((by - ay) * pixel_aspect)
    length2 = float(dx * dx + dy * dy)
    along = np.clip((x * dx + y * dy) / length2, 0, 1) if length2 > 0 else np.float32(0)
    mask[box] |= (x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius
    # The pixel under the pointer is always drawn, even with a thin brush.
    for px, py in (start, end):
        if 0 <= px < width and 0 <= py < height:
            mask[int(py), int(px)] = True
    return box


def polygon_mask(shape: tuple[int, int], vertices: Sequence[Point]) -> Mask:
    """Fill a closed polygon by the non-zero winding rule.

    Self-intersecting outlines, which are common in freehand drawing, are filled without holes.

    Parameters
    ----------
    shape : tuple of int
        (height, width) of the result.
    vertices : sequence of (float, float)
        Points (x, y) in pixels, possibly outside the image; fewer than three give an empty mask.

    Returns
    -------
    ndarray of bool, shape `shape`
    """
    height, width = shape
    if len(vertices) < 3:
        return np.zeros(shape, bool)
    a = np.asarray(vertices, np.float64)
    b = np.roll(a, -1, axis=0)
    # Rows whose centre line each edge crosses, half open so that a shared vertex counts once.
    low, high = np.minimum(a[:, 1], b[:, 1]), np.maximum(a[:, 1], b[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(a)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (b[edge, 0] - a[edge, 0]) / (b[edge, 1] - a[edge, 1])
    crossing = a[edge, 0] + (row + 0.5 - a[edge, 1]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), np.int32)
    np.add.at(turns, (row, column), np.where(b[edge, 1] > a[edge, 1], 1, -1))
    return np.cumsum(turns, axis=1)[:, :width] != 0


def path_length(points: Sequence[Point]) -> float:
    """Return the length of an open polyline in pixels."""
    if len(points) < 2:
        return 0.0
    steps = np.diff(np.asarray(points, np.float64), axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())
