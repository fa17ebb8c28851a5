"""Text burned into the picture outside the ultrasound region: a patient's name or number may be there.

Nothing is read: only lines of letter-like shapes are looked for. Settings in short lines beside the picture
are on nearly every cine, and name nobody; a title line is what names somebody.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box, Frame

WARNING_STATED = "The file says that text is burned into the picture: check it before you pass pictures on."
WARNING_SEEN = (
    "Text is burned into the picture outside the ultrasound region, and the file does not say that it names "
    "nobody: check it before you pass pictures on."
)
_BRIGHT = 50
"""Grey levels by which a letter is brighter than its surroundings."""
_TEXT_FILLS = 0.6
"""Largest part of its box that touching letters fill."""
_BAND = 6
"""Rows: no text fits into fewer."""
_LETTERS_ABOVE, _LETTERS_BELOW = 10, 20
"""Letters in one line, above and below the ultrasound region, from which a line may name somebody."""


def burned_in_warning(stated: str | None, frames: Sequence[Frame], region: Box) -> str | None:
    """The sentence for the user, or None.

    Parameters
    ----------
    stated : str or None
        BurnedInAnnotation, upper case; None where the file does not say.
    frames : sequence of Frame
        A few frames of the cine.
    region : Box
        The ultrasound region.
    """
    if stated == "YES":
        return WARNING_STATED
    if stated == "NO" or not has_title(frames, region):
        return None
    return WARNING_SEEN


def has_title(frames: Sequence[Frame], region: Box) -> bool:
    """True where a line of text runs above or below the ultrasound region."""
    for picture in (frames[0], frames[-1]):
        bands = ((picture[: max(region.y0, 0)], _LETTERS_ABOVE), (picture[region.y1 :], _LETTERS_BELOW))
        if any(len(band) >= _BAND and _longest_line(band, len(picture)) >= few for band, few in bands):
            return True
    return False


def _longest_line(band: Frame, height: int) -> int:
    """Number of letter-like shapes that follow each other in one line."""
    tallest = max(10, round(0.1 * height))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (tallest, tallest))
    # Brighter than what surrounds it: letters, also on a grey bar, but not the bar.
    ink = (cv2.morphologyEx(band, cv2.MORPH_TOPHAT, kernel) > _BRIGHT).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    x, y, w, h, area = (stats[1:, i].astype(np.int32) for i in range(5))
    # A few letters that touch each other are one wider shape; a bar is wide as well, but filled.
    text = (w <= 2 * h) | ((w <= 4 * h) & (area < _TEXT_FILLS * w * h))
    letter = (h >= 5) & (h <= tallest) & (area >= 5) & text
    return _longest_run(x[letter], y[letter], w[letter], h[letter])


def _longest_run(
    x: NDArray[np.int32], y: NDArray[np.int32], w: NDArray[np.int32], h: NDArray[np.int32]
) -> int:
    best = 0
    for first in range(len(x)):
        same_line = np.abs((y + h / 2) - (y[first] + h[first] / 2)) < 0.35 * h[first]
        alike = same_line & (h > 0.5 * h[first]) & (h < 2 * h[first])
        order = np.argsort(x[alike])
        left, right = x[alike][order], (x + w)[alike][order]
        letters = np.maximum(1, np.rint((right - left) / h[first])).astype(int)
        run = 0
        for index, more in enumerate(letters.tolist()):
            near = index > 0 and left[index] - right[index - 1] <= 1.5 * h[first]
            run = run + more if near else more
            best = max(best, run)
    return best
