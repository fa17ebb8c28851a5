"""The shape of the ultrasound picture inside its rectangle: a fan, or the whole rectangle.

Predicted labels belong inside it. The shape is found from the frames alone: what is ever brighter than the
black around the picture, cleaned of text and traces, and its convex hull, because a fan has dark places
inside (cavities, shadows) but no dent that matters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.preprocessing import Letterbox

LIT = 8
"""Grey levels above black from which on a pixel belongs to the picture; coding noise stays below."""

BLACKEST = 32
"""A surround brighter than this is taken for part of the picture."""

SMALLEST = 0.2
"""Share of the rectangle: something smaller is no ultrasound picture, and the rectangle counts instead."""

LARGEST = 0.94
"""Share of the rectangle from which on there is no surround."""

CLEAN = 0.02
"""Thickness, as a share of the square's side, of text and traces that are removed."""


def find_sector(frames: NDArray[np.uint8], box: Letterbox) -> NDArray[np.bool_]:
    """Where the ultrasound picture lies in letterboxed frames.

    Parameters
    ----------
    frames : array
        (T, size, size) uint8, letterboxed; T >= 1.
    box : Letterbox
        That made them.

    Returns
    -------
    (size, size) bool
        A convex shape without the bars of the letterbox; everything between the bars where the picture has no
        black surround or is too dark to tell.
    """
    whole = np.zeros(frames.shape[1:], np.bool_)
    whole[box.inner] = True
    brightest = frames.max(axis=0)[box.inner]
    black = float(np.percentile(brightest, 1))
    if black > BLACKEST:
        return whole
    lit = (brightest > black + LIT).astype(np.uint8)
    size = 2 * max(1, round(CLEAN * frames.shape[1] / 2)) + 1
    closed = cv2.morphologyEx(np.pad(lit, size), cv2.MORPH_CLOSE, _disk(size))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disk(size))[size:-size, size:-size]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return whole
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = np.asarray(parts == 1 + int(areas.argmax()), np.uint8)
    hull = cv2.convexHull(cv2.findNonZero(largest))
    filled = cv2.fillConvexPoly(np.zeros_like(largest), hull, (1,))
    share = float(filled.mean())
    if not SMALLEST <= share <= LARGEST:
        return whole
    sector = np.zeros_like(whole)
    sector[box.inner] = filled > 0
    return sector


def on_region(sector: NDArray[np.bool_], box: Letterbox) -> NDArray[np.bool_]:
    """A sector of the square on the region's own pixels, (height, width).

    A pixel of the square that the edge crosses counts as lit, so that the outermost ones are left out.
    """
    # The bars beside the picture repeat its rim: only an edge inside the picture is moved.
    inner = sector[box.inner]
    below, right = (
        side - start - length
        for side, start, length in zip(sector.shape, (box.top, box.left), inner.shape, strict=True)
    )
    padded = np.pad(inner, ((box.top, below), (box.left, right)), mode="edge")
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # What lies beyond the square counts as inside: its own rim is kept.
    shrunk = cv2.erode(padded.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=(1,))
    return np.asarray(box.invert(shrunk[None].astype(np.float32))[0] > 0.5)


def _disk(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
