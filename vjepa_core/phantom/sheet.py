"""Contact sheets for visual inspection: frames in rows, with outlined labels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

# Colours of Okabe and Ito, as in the program: cavity, myocardium, atrium; RGB.
COLOURS = ((0, 158, 235), (240, 170, 20), (225, 110, 170))


def outlined(frame: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the outline of every label on a frame (H, W); return RGB (H, W, 3)."""
    image = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
    for value, colour in enumerate(COLOURS, start=1):
        of_label = (mask == value).astype(np.uint8)
        contours, _ = cv2.findContours(of_label, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, 1, cv2.LINE_AA)
    return np.asarray(image, np.uint8)


def contact_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]], side: int) -> NDArray[np.uint8]:
    """Arrange grey or RGB images in rows, each scaled to fit a square on black.

    Parameters
    ----------
    rows : sequence of sequences of ndarray
        Images (H, W) or (H, W, 3), uint8, of any size. Shorter rows are filled with black.
    side : int
        Side of a square in pixels.

    Returns
    -------
    ndarray of uint8
        RGB, shape (len(rows) * side, longest row * side, 3).
    """
    sheet = np.zeros((len(rows) * side, max(map(len, rows)) * side, 3), np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            scale = side / max(image.shape[:2])
            h, w = (max(1, round(n * scale)) for n in image.shape[:2])
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            fitted = cv2.resize(image, (w, h), interpolation=interpolation)
            top, left = i * side + (side - h) // 2, j * side + (side - w) // 2
            sheet[top : top + h, left : left + w] = fitted if fitted.ndim == 3 else fitted[..., None]
    return sheet
