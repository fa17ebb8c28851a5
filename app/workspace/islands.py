"""Islands: small parts of a structure that are not connected to its main part."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame
from vjepa_core.label_image import structures_in

MAX_AREA_RATIO = 0.1
"""Maximum area of an island, relative to the largest part of its structure."""


def islands(label: Frame) -> NDArray[np.bool_]:
    """Return the pixels of islands in a label image (height, width) uint8, bool of the same shape."""
    found = np.zeros(label.shape, bool)
    for box, parts, small in _small_parts(label):
        found[box] |= np.isin(parts, small)
    return found


def count_islands(label: Frame) -> int:
    """Return the number of islands in a label image (height, width) uint8."""
    return sum(len(small) for _, _, small in _small_parts(label))


def _small_parts(
    label: Frame,
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.int32], NDArray[np.intp]]]:
    """Yield, for each structure with islands, its box, the numbered parts in it, and the islands' numbers."""
    for value in structures_in(label):
        mask = (label == value).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        box = (slice(y, y + height), slice(x, x + width))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask[box], connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = 1 + np.flatnonzero(areas < MAX_AREA_RATIO * areas.max())
        if count > 2 and len(small):
            yield box, np.asarray(parts, np.int32), small
