"""The cine of formats that carry few facts: video, GIF, images and NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Calibration, Cine, Frame, Timing
from app.readers.burned_in import burned_in_warning
from app.readers.frame_cache import CachedFrames, InOrder
from app.readers.region import find_region, sample_indices

NO_PIXEL_SIZE = "The file does not say the size of a pixel: sizes are given in pixels."

_FIRST = 600
"""Frames among which those that show the region are taken: a long video need not be walked to its end."""


def plain_cine(
    path: Path,
    decode: Callable[[int], Frame] | InOrder,
    n_frames: int,
    *,
    timing: Timing,
    content_hash: str,
    pixel_format: str,
    calibration: Calibration | None = None,
    notes: tuple[str, ...] = (),
    affine: NDArray[np.float64] | None = None,
) -> Cine:
    """Build a cine without DICOM facts; its region is found from a few frames."""
    if isinstance(decode, InOrder):
        source = CachedFrames(decode.decode, n_frames, workers=1)
        decode.on_pass = source.put
    else:
        source = CachedFrames(decode, n_frames)
    frames = [source.frame(i) for i in sample_indices(min(n_frames, _FIRST))]
    box, how = find_region(frames)
    if (text_note := burned_in_warning(None, frames, box)) is not None:
        notes = (*notes, text_note)
    height, width = frames[0].shape
    return Cine(
        path=path,
        uid="",
        content_hash=content_hash,
        n_frames=n_frames,
        height=height,
        width=width,
        timing=timing,
        calibration=calibration,
        regions=(),
        region=box,
        region_source=how,
        colour_doppler=False,
        burned_in_annotation=None,
        view=None,
        pixel_format=pixel_format,
        warnings=notes if calibration is not None else (*notes, NO_PIXEL_SIZE),
        source=source,
        affine=affine,
    )
