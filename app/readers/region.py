"""Detection of the ultrasound region in files without region tags: the moving part, else the bright part."""

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
"""Number of frames to inspect: enough to see a heart move, few enough not to delay the first frame."""
_MOVING = 2
"""Minimal range of a moving pixel over the frames, grey levels."""
_BRIGHT = 6
"""Minimal grey level of the region."""
_SMALLEST = 0.05
"""Minimal fraction of the image: smaller parts are text, an ECG strip or a clock."""


def sample_indices(n_frames: int, count: int = SAMPLES) -> list[int]:
    """Return frame numbers spread evenly over a cine, including the first."""
    return sorted({round(i) for i in np.linspace(0, n_frames - 1, min(count, n_frames))})


def find_region(frames: Sequence[Frame]) -> tuple[Box, str]:
    """Find the ultrasound region.

    Parameters
    ----------
    frames : sequence of Frame
        A few frames of one cine, shape (height, width); with one frame, motion is not used.

    Returns
    -------
    box : Box
        The whole image if no region was found.
    source : str
        "found from motion", "found from shape" or "whole image".
    """
    stack = np.stack(frames)
    height, width = stack.shape[1:]
    whole = Box(0, 0, width, height)
    box, source = whole, WHOLE
    if len(frames) > 1:
        spread = stack.max(axis=0) - stack.min(axis=0)
        # After blurring, small changes of speckle everywhere add up; compression noise around letters does
        # not.
        moving = _largest(_solid_parts(cv2.GaussianBlur(spread, (0, 0), 2) > _MOVING))
        if moving is not None:
            box, source = _box(moving), FROM_MOTION
    if source == WHOLE:
        shape = _largest(_solid_parts(stack.max(axis=0) > _BRIGHT))
        if shape is not None:
            box, source = _box(shape), FROM_SHAPE
    return (box, source) if box != whole else (whole, WHOLE)


def _solid_parts(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Close the gaps of speckle, and remove letters, scales and traces."""
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
