"""Geometry of the ultrasound region (frame, region, letterboxed square), and decoding of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box, Cine, Frame
from app.domain.errors import CineError
from vjepa_core.letterbox import Letterbox


@dataclass(frozen=True)
class RegionGeometry:
    """Maps between the frames of a cine, their ultrasound region and the letterboxed region.

    Attributes
    ----------
    height, width : int
        Size of a frame, pixels.
    region : Box
    box : Letterbox
        Letterbox of the region.
    """

    height: int
    width: int
    region: Box
    box: Letterbox

    @classmethod
    def of(cls, cine: Cine) -> RegionGeometry:
        """Return the geometry of a cine's region."""
        region = cine.region
        box = Letterbox.for_image(region.height, region.width, pixel_aspect=cine.pixel_aspect)
        return cls(cine.height, cine.width, region, box)

    def letterbox(self, frame: Frame) -> Frame:
        """Crop a frame (height, width) and letterbox it, (224, 224)."""
        return self.box.apply(frame[self.region.slices][None])[0]

    def on_frame(self, image: Frame) -> Frame:
        """Place an image of the region on an empty frame (height, width)."""
        full = np.zeros((self.height, self.width), np.uint8)
        full[self.region.slices] = image
        return full

    def doubt_on_frame(self, doubt: Frame) -> Frame:
        """Resample doubt, (112, 112) uint8 over the letterboxed region, to a frame (height, width)."""
        return self.on_frame(self.box.invert(doubt[None].astype(np.float32))[0].round().astype(np.uint8))


def decode_frames(
    cine: Cine,
    out: NDArray[np.uint8],
    transform: Callable[[Frame], Frame],
    *,
    before_frame: Callable[[int], object] = lambda _: None,
    on_damaged: Callable[[CineError], object] = lambda _: None,
) -> tuple[int, ...]:
    """Decode all frames of a cine; a damaged frame repeats the last readable one, or the first readable one.

    Parameters
    ----------
    cine : Cine
    out : ndarray of uint8, shape (frames, ...)
        Receives the transformed frames.
    transform : callable
        Applied to each frame (height, width).
    before_frame : callable
        Called with each frame number; decoding ends if it raises an exception.
    on_damaged : callable
        Called with the error of each damaged frame.

    Returns
    -------
    tuple of int
        The damaged frames.

    Raises
    ------
    CineError
        If no frame can be decoded.
    """
    damaged: list[int] = []
    for index in range(cine.n_frames):
        before_frame(index)
        try:
            out[index] = transform(cine.frame(index))
        except CineError as error:
            damaged.append(index)
            if len(damaged) == cine.n_frames:
                raise
            on_damaged(error)
            if len(damaged) <= index:  # a readable frame came before
                out[index] = out[index - 1]
            continue
        if len(damaged) == index:  # the first readable frame
            out[:index] = out[index]
    return tuple(damaged)
