"""Opening of DICOM files: the header at once, frames on demand."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from app.domain.cine import Box, Cine, Frame, FrameSource
from app.domain.errors import CineError
from app.readers.burned_in import burned_in_warning
from app.readers.calibration import COLOUR_FLOW, SOURCE, TWO_D, calibrate
from app.readers.codestream import SizeMismatchError
from app.readers.decode import FrameDecoder
from app.readers.frame_cache import CachedFrames
from app.readers.header import read_header
from app.readers.pixel_data import pixel_data
from app.readers.region import SAMPLES, find_region, sample_indices
from app.readers.tags import text, value_of
from app.readers.timing import dicom_timing, r_waves
from app.readers.view import view_of

log = logging.getLogger(__name__)

_STRONG_CHROMA = 70
"""Lower limit of the chroma of colour Doppler; tinted grey maps stay below it."""
_COLOUR_FRACTION = 0.004
"""Minimal fraction of the region in solid colour of a colour Doppler cine; calipers stay below it."""


def open_dicom(path: Path) -> Cine:
    """Open a DICOM file with one or more frames.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        One sentence with the name of the file, the cause and a remedy.
    """
    header = read_header(path)
    pixels = pixel_data(path, header)
    layout, notes, n_frames, read = pixels.layout, list(pixels.notes), pixels.n_frames, pixels.read
    try:
        decoder = FrameDecoder(header.ds, layout)
        notes.extend(decoder.fit_range(read, n_frames))
    except Exception as error:
        raise _undecodable(path) from error

    def decode(index: int) -> Frame:
        try:
            return decoder.luma(read(index))
        except FileNotFoundError as error:
            raise CineError(f"{path.name} was moved or deleted; find it and open it again.") from error
        except Exception as error:
            raise CineError(
                f"{path.name}: frame {index} is damaged; use the others, or copy the file again."
            ) from error

    source = CachedFrames(decode, n_frames)
    try:
        source.frame(0)
    except CineError as error:
        if isinstance(error.__cause__, SizeMismatchError):
            raise CineError(
                f"{path.name} states a size of {layout.columns}x{layout.rows} pixels, but its frames "
                f"have {error.__cause__}; export it from the machine again."
            ) from error
        raise _undecodable(path) from error
    calibrated = calibrate(header.ds, layout.rows, layout.columns)
    if calibrated.box is not None:
        box, box_source = calibrated.box, SOURCE
        samples = sample_frames(source, n_frames, 2)
    else:
        samples = sample_frames(source, n_frames)
        box, box_source = find_region(samples)
    timing, time_notes = dicom_timing(header.ds, n_frames, header.declared_frames)
    colour = _shows_colour(decoder, [read(i) for i in sample_indices(n_frames, 3)], box) or any(
        r.spatial_format == TWO_D and r.data_type == COLOUR_FLOW for r in calibrated.regions
    )
    if colour:
        notes.append("The cine shows colour Doppler: its colours are converted to grey levels.")
    burned_in = text(header.ds, "BurnedInAnnotation").upper() or None
    if (text_note := burned_in_warning(burned_in, samples, box)) is not None:
        notes.append(text_note)
    return Cine(
        path=path,
        uid=str(value_of(header.ds, "SOPInstanceUID") or ""),
        study_uid=str(value_of(header.ds, "StudyInstanceUID") or ""),
        content_hash=pixels.content_hash(),
        n_frames=n_frames,
        height=layout.rows,
        width=layout.columns,
        timing=timing,
        calibration=calibrated.calibration,
        regions=calibrated.regions,
        region=box,
        region_source=box_source,
        colour_doppler=colour,
        burned_in_annotation=burned_in,
        view=view_of(header.ds),
        pixel_format=f"{layout.photometric}, {layout.bits_stored} bit, {layout.syntax.name}",
        warnings=(*notes, *time_notes, *calibrated.warnings),
        source=source,
        r_waves_ms=r_waves(header.ds),
    )


def _undecodable(path: Path) -> CineError:
    return CineError(f"{path.name} has frames that cannot be decoded; export it from the machine again.")


def sample_frames(source: FrameSource, n_frames: int, count: int = SAMPLES) -> list[Frame]:
    """Decode a few frames spread over the cine, except damaged ones; the first one must be readable.

    Parameters
    ----------
    source : FrameSource
    n_frames : int
    count : int
        Number of frames to decode.

    Returns
    -------
    list of Frame
    """
    frames = []
    for index in sample_indices(n_frames, count):
        try:
            frames.append(source.frame(index))
        except CineError:
            continue
    return frames


def _shows_colour(decoder: FrameDecoder, frames: list[bytes], box: Box) -> bool:
    """Return True if a solid part of the region has a strong colour.

    UltrasoundColorDataPresent cannot be used: it is set for any coloured pixels, such as a green ECG trace,
    and missing in some Doppler cines.
    """
    kernel = np.ones((5, 5), np.uint8)
    for data in frames:
        try:
            chroma = decoder.chroma(data)
        except Exception as error:  # a damaged frame: use the others
            log.debug("a frame has no colours: %s", type(error).__name__)
            continue
        if chroma is None:
            return False
        strong = (chroma[box.slices] > _STRONG_CHROMA).astype(np.uint8)
        solid = cv2.morphologyEx(strong, cv2.MORPH_OPEN, kernel)  # removes lines and letters
        if solid.mean() > _COLOUR_FRACTION:
            return True
    return False
