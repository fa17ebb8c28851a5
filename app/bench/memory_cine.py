"""Cines of benchmarks, which have no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Box, Calibration, Cine, Frame, FrameSource, Timing, TimingSource


class FramesInMemory:
    """Frame source of decoded frames.

    Parameters
    ----------
    frames : (T, height, width) uint8
    """

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._frames = frames

    def frame(self, index: int) -> Frame:
        """Return one frame."""
        return self._frames[index]

    def is_decoded(self, index: int) -> bool:
        """Return True."""
        return True

    def prefetch(self, order: Iterable[int], on_frame: Callable[[int], None] | None = None) -> None:
        """Call `on_frame` for every frame."""
        if on_frame is not None:
            for index in order:
                on_frame(index)

    def close(self) -> None:
        """Do nothing."""


def memory_cine(
    shape: tuple[int, ...],
    fps: float,
    calibration: Calibration | None,
    source: FrameSource,
    view: str | None = None,
) -> Cine:
    """Return a cine that has no file, with the whole image as its region.

    Parameters
    ----------
    shape : tuple of int
        Number, height and width of the frames.
    fps : float
        Frame rate in Hz.
    calibration : Calibration or None
    source : FrameSource
    view : str, optional
        Name of the view.
    """
    n, height, width = shape
    return Cine(
        path=Path("cine"),
        uid="cine",
        content_hash="",
        n_frames=n,
        height=height,
        width=width,
        timing=Timing(np.arange(n, dtype=np.float64) * (1000.0 / fps), TimingSource.CONTAINER),
        calibration=calibration,
        regions=(),
        region=Box(0, 0, width, height),
        region_source="whole image",
        colour_doppler=False,
        burned_in_annotation=None,
        view=view,
        pixel_format="grey",
        warnings=(),
        source=source,
    )
