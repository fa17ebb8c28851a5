"""Ultrasound sector of a cine, from a few of its frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.engine.region_geometry import RegionGeometry
from vjepa_core.fewshot.sector import find_sector, sector_on_region
from vjepa_core.label_image import LabelImage, structure_mask

N_FRAMES = 8
"""Frames from which the sector is found."""

MOST_OUTSIDE = 0.02
"""Share of the labelled area beyond the sector from which on the labels contradict it."""


def sector_of(cine: Cine, labels: Iterable[LabelImage] = ()) -> NDArray[np.bool_] | None:
    """Find the ultrasound sector of a cine; frames are decoded, so it is not for the thread of the window.

    Parameters
    ----------
    cine : Cine
    labels : iterable of LabelImage
        Drawn structures, which lie inside the sector.

    Returns
    -------
    (height, width) bool or None
        None if no frame can be decoded, or if the labels contradict the sector that was found.
    """
    geometry, boxed = RegionGeometry.of(cine), []
    for frame in np.unique(np.linspace(0, cine.n_frames - 1, N_FRAMES).astype(int)):
        try:
            boxed.append(geometry.letterbox(cine.frame(int(frame))))
        except (CineError, OSError):
            continue
    if not boxed:
        return None
    inside = sector_on_region(find_sector(np.stack(boxed), geometry.box), geometry.box)
    return on_frame(cine, inside, labels)


def on_frame(
    cine: Cine, inside: NDArray[np.bool_], labels: Iterable[LabelImage] = ()
) -> NDArray[np.bool_] | None:
    """Place a sector in the region on the frame, (height, width); None if the labels contradict it."""
    full = np.zeros((cine.height, cine.width), np.bool_)
    full[cine.region.slices] = inside
    total, outside = 0, 0
    for label in labels:
        drawn = structure_mask(label)
        total += int(np.count_nonzero(drawn))
        outside += int(np.count_nonzero(drawn & ~full))
    return None if outside > MOST_OUTSIDE * total else full
