"""Cine and starter labels of the demo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from app.domain.cine import Frame
from vjepa_core.resources import resource_path


def cine_path() -> Path:
    """Return the file of an apical four-chamber cine, 30 frames of 240 x 320, that ships with pydicom."""
    from pydicom import examples

    return Path(examples.get_path("ybr_color"))


def labels_folder() -> Path:
    """Return the folder with labels of two frames, as `apical segment --labels` reads them."""
    return resource_path("demo")


def starter_labels() -> dict[int, Frame]:
    """Return the starter labels by frame, (240, 320) uint8."""
    labels = {}
    for file in sorted(labels_folder().glob("frame_*.png")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        labels[int(file.stem.removeprefix("frame_"))] = np.asarray(image, dtype=np.uint8)
    return labels
