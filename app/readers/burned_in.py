"""Detection of text that is burned into the frames outside the ultrasound region, and may name the patient.

The text is not recognised: the detector counts letter-like shapes in a line. Short lines of settings next to
the ultrasound region are on nearly every cine and are harmless; names are in title lines above or below it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box, Frame

WARNING_STATED = "The header says that text is burned into the image: check it before you share images."
WARNING_SEEN = (
    "Text is burned into the image outside the ultrasound region and may contain the patient's name: "
    "check it before you share images."
)
_BRIGHT = 50
"""Minimal difference in grey levels between a letter and its surroundings."""
_TEXT_FILLS = 0.6
"""Largest fraction of their bounding box that touching letters fill."""
_SMALLEST_BAND = 6
"""Rows; text does not fit into fewer."""
_LETTERS_ABOVE, _LETTERS_BELOW = 10, 20
"""Minimal number of letters of a title line above and below the ultrasound region."""


def burned_in_warning(stated: str | None, frames: Sequence[Frame], region: Box) -> str | None:
    """Return a warning for the user, or None.

    Parameters
    ----------
    stated : str or None
        BurnedInAnnotation in upper case; None if it is absent.
    frames : sequence of Frame
        A few frames of the cine.
    region : Box
        The ultrasound region.

    Returns
    -------
    str or None
    """
    if stated == "YES":
        return WARNING_STATED
    if stated == "NO" or not has_title(frames, region):
        return None
    return WARNING_SEEN


def has_title(frames: Sequence[Frame], region: Box) -> bool:
    """Return True if there is a line of text above or below the ultrasound region."""
    for frame in (frames[0], frames[-1]):
        bands = ((frame[: max(region.y0, 0)], _LETTERS_ABOVE), (frame[region.y1 :], _LETTERS_BELOW))
        if any(len(band) >= _SMALLEST_BAND and _longest_line(band, len(frame)) >= n for band, n in bands):
            return True
    return False


def _longest_line(band: Frame, height: int) -> int:
    """Return the number of letter-like shapes in the longest line."""
    tallest = max(10, round(0.1 * height))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (tallest, tallest))
    # Brighter than the surroundings: letters, also those on a grey bar, but not the bar itself.
    ink = (cv2.morphologyEx(band, cv2.MORPH_TOPHAT, kernel) > _BRIGHT).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    x, y, w, h, area = (stats[1:, i].astype(np.int32) for i in range(5))
    # Touching letters form one wider shape; a bar is wide as well, but filled.
    text = (w <= 2 * h) | ((w <= 4 * h) & (area < _TEXT_FILLS * w * h))
    letter = (h >= 5) & (h <= tallest) & (area >= 5) & text
    return _longest_run(x[letter], y[letter], w[letter], h[letter])


def _longest_run(
    x: NDArray[np.int32], y: NDArray[np.int32], w: NDArray[np.int32], h: NDArray[np.int32]
) -> int:
    best = 0
    for first in range(len(x)):
        same_line = np.abs((y + h / 2) - (y[first] + h[first] / 2)) < 0.35 * h[first]
        similar = same_line & (h > 0.5 * h[first]) & (h < 2 * h[first])
        order = np.argsort(x[similar])
        left, right = x[similar][order], (x + w)[similar][order]
        letters = np.maximum(1, np.rint((right - left) / h[first])).astype(int)
        run = 0
        for index, count in enumerate(letters.tolist()):
            is_near = index > 0 and left[index] - right[index - 1] <= 1.5 * h[first]
            run = run + count if is_near else count
            best = max(best, run)
    return best
