"""Find the ultrasound sector inside the region.

Predicted labels are limited to the sector. It is the convex hull of the pixels that are brighter than the
black surround in any frame, without text and traces: a sector contains dark parts (cavities, shadows) but is
convex.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.letterbox import Letterbox

MIN_LEVEL = 8
"""Minimum difference in grey level between sector and black; more than coding noise."""

MAX_BLACK = 32
"""A surround brighter than this is considered part of the image."""

MIN_FRACTION = 0.2
"""Minimum size as a fraction of the region; if the sector is smaller, the whole region is used."""

MAX_FRACTION = 0.94
"""Maximum size as a fraction of the region; if the sector is larger, the whole region is used."""

TEXT_WIDTH = 0.02
"""Thickness of text and traces that are removed, as a fraction of the square's side."""


def find_sector(frames: NDArray[np.uint8], box: Letterbox) -> NDArray[np.bool_]:
    """Find the sector in letterboxed frames.

    Parameters
    ----------
    frames : ndarray of uint8
        Letterboxed frames, shape (T, size, size), T >= 1.
    box : Letterbox
        Letterbox of the frames.

    Returns
    -------
    ndarray of bool
        Convex mask without the bars of the letterbox, shape (size, size); everything between the bars if the
        image has no black surround or no sector is found.
    """
    whole = np.zeros(frames.shape[1:], np.bool_)
    whole[box.inner] = True
    brightest = frames.max(axis=0)[box.inner]
    black = float(np.percentile(brightest, 1))
    if black > MAX_BLACK:
        return whole
    lit = (brightest > black + MIN_LEVEL).astype(np.uint8)
    size = 2 * max(1, round(TEXT_WIDTH * frames.shape[1] / 2)) + 1
    closed = cv2.morphologyEx(np.pad(lit, size), cv2.MORPH_CLOSE, _disk(size))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disk(size))[size:-size, size:-size]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return whole
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = np.asarray(parts == 1 + int(areas.argmax()), np.uint8)
    hull = cv2.convexHull(cv2.findNonZero(largest))
    filled = cv2.fillConvexPoly(np.zeros_like(largest), hull, (1,))
    if not MIN_FRACTION <= float(filled.mean()) <= MAX_FRACTION:
        return whole
    sector = np.zeros_like(whole)
    sector[box.inner] = filled > 0
    return sector


def sector_on_region(sector: NDArray[np.bool_], box: Letterbox) -> NDArray[np.bool_]:
    """Resample a sector mask of the square to the pixels of the region, (height, width).

    Partially covered pixels of the square are part of its mask, so that the outermost pixels are removed.
    """
    # The bars are filled with the rim of the image, so that only edges inside the image are eroded.
    inner = sector[box.inner]
    below, right = (
        side - start - length
        for side, start, length in zip(sector.shape, (box.top, box.left), inner.shape, strict=True)
    )
    padded = np.pad(inner, ((box.top, below), (box.left, right)), mode="edge")
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # Pixels beyond the square count as inside the sector, so that the rim of the square is not eroded.
    shrunk = cv2.erode(padded.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=(1,))
    return np.asarray(box.invert(shrunk[None].astype(np.float32))[0] > 0.5)


def _disk(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
