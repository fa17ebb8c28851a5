"""Label images of beating hearts, and cines to go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.domain.cine import Frame
from tests.unit.readers.dicom_oracle import grey_cine, region

HEIGHT, WIDTH = 96, 128
N_FRAMES = 40
ED_FRAMES, ES_FRAME = (10, 30), 20
MM_PER_PX = 1.0


def heart(radius: float, length: float = 55.0, column: float = 64.0) -> Frame:
    """Return a label image: a half-elliptical cavity with its apex up, wall and atrium."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    above = y <= 65
    inner = ((y - 65) / length) ** 2 + ((x - column) / radius) ** 2 < 1
    outer = ((y - 65) / (length + 5)) ** 2 + ((x - column) / (radius + 5)) ** 2 < 1
    atrium = (((y - 66) / 22) ** 2 + ((x - column) / (radius - 3)) ** 2 < 1) & ~above
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[outer & above] = 2
    label[inner & above] = 1
    label[atrium] = 3
    return label


def beating(n: int = N_FRAMES) -> dict[int, Frame]:
    """Return label images of a heart with end-diastole at frames 10 and 30 and end-systole at frame 20."""
    phase = np.cos(2 * np.pi * (np.arange(n) - ED_FRAMES[0]) / 20.0)
    return {frame: heart(17.0 + 4.0 * p, 52.0 + 3.0 * p) for frame, p in enumerate(phase)}


def calibrated_cine(path: Path, n: int = N_FRAMES, **tags: Any) -> Path:
    """Write an A4C cine of square pixels of 1 mm, 25 frames per second."""
    regions = [region(0, 0, WIDTH - 1, HEIGHT - 1, MM_PER_PX / 10.0)]
    view = {"SeriesDescription": "A4C"}
    return grey_cine(path, n=n, SequenceOfUltrasoundRegions=regions, **(view | tags))
