"""Find the ultrasound picture when no tag says where: the part that moves, else the part that is lit."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box, Frame

FROM_MOTION = "found from motion"
FROM_SHAPE = "found from shape"
WHOLE = "whole image"
SAMPLES = 8
"""Frames looked at: enough to see a heart move, few enough not to delay the first picture."""
_MOVES = 2
_LIT = 6
_SMALLEST = 0.05
"""Share of the image: less is text, an ECG strip or a clock."""


def sample_indices(n_frames: int, count: int = SAMPLES) -> list[int]:
    """Frame numbers spread evenly over a cine, the first one among them."""
    return sorted({round(i) for i in np.linspace(0, n_frames - 1, min(count, n_frames))})


def find_region(frames: Sequence[Frame]) -> tuple[Box, str]:
    """Box of the ultrasound picture, and how it was found.

    Parameters
    ----------
    frames : sequence of Frame
        A few frames of one cine, all (height, width); one frame allows shape only.

    Returns
    -------
    Box
        The whole image where nothing was found.
    str
        "found from motion", "found from shape" or "whole image".
    """
    stack = np.stack(frames)
    height, width = stack.shape[1:]
    whole = Box(0, 0, width, height)
    box, how = whole, WHOLE
    if len(frames) > 1:
        spread = stack.max(axis=0) - stack.min(axis=0)
        # Blurred: speckle that changes a little everywhere adds up, coding noise around letters does not.
        moving = _largest(_body(cv2.GaussianBlur(spread, (0, 0), 2) > _MOVES))
        if moving is not None:
            box, how = _box(moving), FROM_MOTION
    if how == WHOLE:
        shape = _largest(_body(stack.max(axis=0) > _LIT))
        if shape is not None:
            box, how = _box(shape), FROM_SHAPE
    return (box, how) if box != whole else (whole, WHOLE)


def _body(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Solid parts of a mask: gaps of speckle closed, letters, scales and traces removed."""
    size = max(3, round(min(mask.shape) / 60))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    solid = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    return np.asarray(cv2.morphologyEx(solid, cv2.MORPH_OPEN, wide), np.uint8)


def _largest(mask: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[best, cv2.CC_STAT_AREA] < _SMALLEST * mask.size:
        return None
    return np.asarray(labels == best, np.uint8)


def _box(mask: NDArray[np.uint8]) -> Box:
    margin = max(2, round(min(mask.shape) / 100))
    x, y, w, h = cv2.boundingRect(mask)
    height, width = mask.shape
    return Box(
        max(0, x - margin), max(0, y - margin), min(width, x + w + margin), min(height, y + h + margin)
    )
