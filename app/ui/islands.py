"""Small islands: parts of a structure that lie apart from its main part."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame
from app.domain.provenance import structures_in

SMALL = 0.1
"""Share of a structure's largest part below which another part is an island."""


def islands(label: Frame) -> NDArray[np.bool_]:
    """Pixels of a label image (height, width) uint8 that belong to small islands, bool of the same shape."""
    found = np.zeros(label.shape, bool)
    for value in structures_in(label):
        mask = (label == value).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        box = (slice(y, y + height), slice(x, x + width))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask[box], connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        small = np.flatnonzero(areas < SMALL * areas[1:].max())
        if count > 2 and len(small):
            found[box] |= np.isin(parts, small[small > 0])
    return found


def count_islands(label: Frame) -> int:
    """Number of small islands on a label image."""
    return cv2.connectedComponents(islands(label).astype(np.uint8), connectivity=8)[0] - 1
