"""Images of frames with the outlines of their structures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame
from app.domain.labels import LabelSet
from app.storage.errors import export_error

_EDGE = 640
"""Length of the longer edge of an image, pixels."""

_GREY = (160, 160, 160)


def draw_outlines(
    frame: Frame, mask: Frame | None, label_set: LabelSet, pixel_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Enlarge a frame and draw the borders of a label image in the colours of its classes.

    Parameters
    ----------
    frame : ndarray, shape (h, w), uint8
    mask : ndarray, shape (h, w), or None
        Label image; without one, a text is drawn instead.
    label_set : LabelSet
    pixel_aspect : float
        Height of a pixel divided by its width.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        Blue, green, red, as written by OpenCV.
    """
    height, width = frame.shape[0] * pixel_aspect, frame.shape[1]
    scale = _EDGE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    if mask is None:
        cv2.putText(
            picture,
            "nothing outlined",
            (12, size[1] - 12),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6,
            _GREY,
            1,
            cv2.LINE_AA,
        )
        return np.asarray(picture, np.uint8)
    # The first class is drawn last, so that the border of the cavity is complete where the wall touches it.
    for label in reversed(label_set.structures):
        # Interpolated, so that the border is smooth in spite of the large pixels.
        coverage = cv2.resize(np.equal(mask, label.value).astype(np.float32), size)
        borders, _ = cv2.findContours((coverage > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, borders, -1, label.colour[::-1], 2, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an image as PNG.

    Parameters
    ----------
    path : Path
    picture : ndarray, shape (H, W, 3), uint8
        Blue, green, red.

    Raises
    ------
    ExportError
        The file cannot be written.
    """
    _, content = cv2.imencode(".png", picture)
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise export_error(path, error) from error
