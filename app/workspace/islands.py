"""Small islands: parts of a structure that lie apart from its main part."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame
from vjepa_core.label_image import structures_in

SMALL = 0.1
"""Share of a structure's largest part below which another part is an island."""


def islands(label: Frame) -> NDArray[np.bool_]:
    """Pixels of a label image (height, width) uint8 that belong to small islands, bool of the same shape."""
    found = np.zeros(label.shape, bool)
    for box, parts, small in _small_parts(label):
        found[box] |= np.isin(parts, small)
    return found


def count_islands(label: Frame) -> int:
    """Number of small islands on a label image (height, width) uint8."""
    return sum(len(small) for _, _, small in _small_parts(label))


def _small_parts(
    label: Frame,
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.int32], NDArray[np.intp]]]:
    """Box, numbered parts in it, and the numbers of the small ones, for each structure that has some."""
    for value in structures_in(label):
        mask = (label == value).view(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        box = (slice(y, y + height), slice(x, x + width))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask[box], connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = 1 + np.flatnonzero(areas < SMALL * areas.max())
        if count > 2 and len(small):
            yield box, np.asarray(parts, np.int32), small
