"""Ultrasound sector of a cine on its frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.engine.region_geometry import RegionGeometry
from vjepa_core.fewshot.sector import find_sector, sector_on_region

N_FRAMES = 8
"""Frames from which the sector is found, spread over the cine."""


def sector_mask(cine: Cine) -> NDArray[np.bool_] | None:
    """Return the pixels of the ultrasound sector, (height, width) bool; None if no frame can be decoded.

    It decodes frames, so it is not for the thread of the window.
    """
    geometry = RegionGeometry.of(cine)
    boxed = []
    for index in np.unique(np.linspace(0, cine.n_frames - 1, N_FRAMES).astype(int)):
        try:
            boxed.append(geometry.letterbox(cine.frame(int(index))))
        except (CineError, OSError):
            continue
    if not boxed:
        return None
    sector = sector_on_region(find_sector(np.stack(boxed), geometry.box), geometry.box)
    return geometry.on_frame(sector.astype(np.uint8)).astype(bool)
