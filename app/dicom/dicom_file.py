"""A DICOM file to a `Cine`: header first, frames on demand."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import cv2
import numpy as np

from app.dicom.calibration import COLOUR_FLOW, SOURCE, TWO_D, calibrate
from app.dicom.decode import FrameDecoder
from app.dicom.fragments import (
    FrameTable,
    Span,
    encapsulated_frames,
    native_frames,
    read_spans,
    sha256_of,
)
from app.dicom.frame_cache import CachedFrames
from app.dicom.header import Header, read_header
from app.dicom.region import find_region, sample_indices
from app.dicom.tags import text, value_of
from app.dicom.timing import dicom_timing
from app.dicom.view import view_of
from app.domain.cine import Box, Cine, Frame, FrameSource
from app.domain.errors import CineError

log = logging.getLogger(__name__)

_COLOURFUL = 70
"""Chroma of Doppler; the tints of grey maps stay below it."""
_COLOUR_SHARE = 0.004
"""Share of the picture in solid colour from which it counts as Doppler and not as a caliper."""


def open_dicom(path: Path) -> Cine:
    """Open one SOP instance with one or more frames.

    Raises
    ------
    CineError
        With one sentence that names the file and the way out.
    """
    header = read_header(path)
    layout = header.layout
    table = _frame_table(path, header)
    notes = _check_frames(path, header, table)
    read = _reader(path, header, table)
    try:
        decoder = FrameDecoder(header.ds, layout)
        if decoder.needs_range:
            decoder.fit_range([read(i) for i in sample_indices(len(table.frames))])
    except Exception as error:
        raise CineError(
            f"{path.name} has pictures that cannot be decoded; export it from the machine again."
        ) from error

    def decode(index: int) -> Frame:
        try:
            return decoder.luma(read(index))
        except FileNotFoundError as error:
            raise CineError(f"{path.name} is no longer where it was; find it again and reopen it.") from error
        except Exception as error:
            raise CineError(
                f"{path.name}: frame {index} is damaged; go on with the others, or copy the file again."
            ) from error

    n_frames = len(table.frames)
    source = CachedFrames(decode, n_frames)
    try:
        source.frame(0)
    except CineError as error:
        raise CineError(
            f"{path.name} has pictures that cannot be decoded; export it from the machine again."
        ) from error
    calibrated = calibrate(header.ds, layout.rows, layout.columns)
    if calibrated.box is not None:
        box, box_source = calibrated.box, SOURCE
    else:
        box, box_source = find_region(readable(source, n_frames))
    timing, time_notes = dicom_timing(header.ds, n_frames, header.declared_frames)
    colour = _shows_colour(decoder, [read(i) for i in sample_indices(n_frames, 3)], box) or any(
        r.spatial_format == TWO_D and r.data_type == COLOUR_FLOW for r in calibrated.regions
    )
    if colour:
        notes.append("The cine shows colour Doppler: a grey copy without the colours' meaning is used.")
    burned_in = text(header.ds, "BurnedInAnnotation").upper() or None
    return Cine(
        path=path,
        uid=str(value_of(header.ds, "SOPInstanceUID") or ""),
        content_hash=_content_hash(path, header, table),
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
    )


def readable(source: FrameSource, n_frames: int) -> list[Frame]:
    """A few frames spread over the cine, without the damaged ones; the first one must be good."""
    frames = []
    for index in sample_indices(n_frames):
        try:
            frames.append(source.frame(index))
        except CineError:
            continue
    return frames


def _frame_table(path: Path, header: Header) -> FrameTable:
    layout, n = header.layout, header.declared_frames
    if header.deflated is not None:
        return native_frames(header.element, len(header.deflated), layout.frame_bytes, n)
    size = path.stat().st_size
    if not layout.syntax.is_encapsulated:
        return native_frames(header.element, size, layout.frame_bytes, n)
    offsets = value_of(header.ds, "ExtendedOffsetTable") or b""
    extended = tuple(np.frombuffer(offsets[: len(offsets) // 8 * 8], "<u8").tolist())
    with path.open("rb") as file:
        return encapsulated_frames(file, header.element, size, n, extended)


def _check_frames(path: Path, header: Header, table: FrameTable) -> list[str]:
    """Warnings about missing frames; refuses a file in which no frame is complete."""
    found, declared = len(table.frames), header.declared_frames
    if found == 0:
        raise CineError(
            f"{path.name} is cut short: not one whole frame is there; copy it again from where it came from."
        )
    if found == declared:
        return []
    why = "is cut short" if table.truncated else "holds fewer frames than it says"
    return [f"The file {why}: {found} of {declared} frames can be read; copy it again if they matter."]


class _Reader:
    """Bytes of frame i, from the file or from the inflated pixel data."""

    def __init__(self, path: Path, frames: tuple[tuple[Span, ...], ...], inflated: bytes | None) -> None:
        self._path, self._frames, self._inflated = path, frames, inflated

    def __call__(self, index: int) -> bytes:
        spans = self._frames[index]
        if self._inflated is None:
            return read_spans(self._path, spans)
        return b"".join(self._inflated[start : start + length] for start, length in spans)


def _reader(path: Path, header: Header, table: FrameTable) -> _Reader:
    return _Reader(path, table.frames, header.deflated)


def _content_hash(path: Path, header: Header, table: FrameTable) -> str:
    if header.deflated is not None:
        return hashlib.sha256(header.deflated).hexdigest()
    return sha256_of(path, table.value)


def _shows_colour(decoder: FrameDecoder, frames: list[bytes], box: Box) -> bool:
    """True where a solid part of the picture is in strong colour.

    UltrasoundColorDataPresent says no more than that there are coloured pixels (a green ECG is
    enough), and Doppler cines without it exist, so the pixels are asked.
    """
    kernel = np.ones((5, 5), np.uint8)
    for data in frames:
        try:
            chroma = decoder.chroma(data)
        except Exception as error:  # a damaged frame: the others will tell
            log.debug("no colours from a frame: %s", type(error).__name__)
            continue
        if chroma is None:
            return False
        strong = (chroma[box.slices] > _COLOURFUL).astype(np.uint8)
        solid = cv2.morphologyEx(strong, cv2.MORPH_OPEN, kernel)  # lines and letters go
        if solid.mean() > _COLOUR_SHARE:
            return True
    return False
