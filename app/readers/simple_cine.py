"""Cines of formats with little metadata: video, GIF, images and NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Calibration, Cine, Frame, Timing
from app.readers.burned_in import burned_in_warning
from app.readers.frame_cache import CachedFrames, SequentialDecoder
from app.readers.region import find_region, sample_indices

NO_PIXEL_SIZE = "The file does not state the pixel size: sizes are given in pixels."

_SEARCHED = 600
"""The region is detected in the first frames, because decoding a long video to its end takes too long."""


def simple_cine(
    path: Path,
    decode: Callable[[int], Frame] | SequentialDecoder,
    n_frames: int,
    *,
    timing: Timing,
    content_hash: str,
    pixel_format: str,
    calibration: Calibration | None = None,
    notes: tuple[str, ...] = (),
    affine: NDArray[np.float64] | None = None,
) -> Cine:
    """Create a cine without DICOM attributes; its region is detected in a few frames.

    Parameters
    ----------
    path : Path
    decode : callable or SequentialDecoder
        ``decode(index) -> Frame``.
    n_frames : int
    timing : Timing
    content_hash : str
    pixel_format : str
        Description for the user.
    calibration : Calibration, optional
    notes : tuple of str
        Sentences for the user.
    affine : ndarray, shape (4, 4), optional
        Of a NIfTI image.

    Returns
    -------
    Cine
    """
    if isinstance(decode, SequentialDecoder):
        source = CachedFrames(decode.decode, n_frames, workers=1)
        decode.on_pass = source.put
    else:
        source = CachedFrames(decode, n_frames)
    frames = [source.frame(i) for i in sample_indices(min(n_frames, _SEARCHED))]
    box, region_source = find_region(frames)
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
        region_source=region_source,
        colour_doppler=False,
        burned_in_annotation=None,
        view=None,
        pixel_format=pixel_format,
        warnings=notes if calibration is not None else (*notes, NO_PIXEL_SIZE),
        source=source,
        affine=affine,
    )
