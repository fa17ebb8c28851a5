"""Stored bytes of the frames of a DICOM file; their number and format are compared with the header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.uid import RLELossless

from app.domain.errors import CineError
from app.readers.codestream import codestream_format
from app.readers.fragments import (
    UNDEFINED,
    FrameTable,
    encapsulated_frames,
    native_frames,
    read_spans,
    sha256_of,
)
from app.readers.header import Header
from app.readers.layout import Layout
from app.readers.native import fits, interpret
from app.readers.tags import value_of

_HEAD = 1 << 16
"""Bytes at the start of a compressed frame that contain its header."""


@dataclass(frozen=True)
class PixelData:
    """Frames of one file, the layout to decode them with, and notes for the user."""

    path: Path
    layout: Layout
    table: FrameTable
    notes: list[str]
    inflated: bytes | None = None

    @property
    def n_frames(self) -> int:
        """Number of complete frames."""
        return len(self.table.frames)

    def read(self, index: int) -> bytes:
        """Read the stored bytes of one frame, from the file or from the inflated pixel data."""
        spans = self.table.frames[index]
        if self.inflated is None:
            return read_spans(self.path, spans)
        return b"".join(self.inflated[start : start + length] for start, length in spans)

    def content_hash(self) -> str:
        """Return the SHA-256 of the available pixel data."""
        if self.inflated is not None:
            return hashlib.sha256(self.inflated).hexdigest()
        return sha256_of(self.path, self.table.value)


def pixel_data(path: Path, header: Header) -> PixelData:
    """Locate the frames.

    Parameters
    ----------
    path : Path
    header : Header

    Returns
    -------
    PixelData

    Raises
    ------
    CineError
        No frame is complete, or the pixel format is not supported.
    """
    if header.layout.syntax.is_encapsulated:
        return _encapsulated(path, header)
    return _native(path, header)


def _native(path: Path, header: Header) -> PixelData:
    element, inflated = header.element, header.inflated
    size = path.stat().st_size if inflated is None else len(inflated)
    available = min(element.length, size - element.offset)

    def start(length: int) -> bytes:
        if inflated is not None:
            return inflated[:length]
        return read_spans(path, ((element.offset, min(length, available)),))

    length = element.length
    if length > available and not fits(header.layout, header.declared_frames or 1, length):
        length = available  # the stated length or the header is wrong
    found = interpret(header.ds, header.layout, header.declared_frames, length, start)
    layout = found.layout
    _reject_layout(path.name, layout)
    table = native_frames(element, size, layout.frame_bytes, found.n_frames)
    if not table.frames and element.length <= available:
        raise CineError(
            f"{path.name} states an image size of {layout.columns}x{layout.rows} pixels, but has only "
            f"{available} bytes of pixel data; export it from the machine again."
        )
    notes = [*found.notes, *_count_notes(path.name, header, table)]
    return PixelData(path, layout, table, notes, inflated)


def _encapsulated(path: Path, header: Header) -> PixelData:
    layout = header.layout
    _reject_layout(path.name, layout)
    if header.element.length != UNDEFINED and header.element.length == layout.frame_bytes * (
        header.declared_frames or 1
    ):
        raise CineError(
            f"{path.name} is marked as compressed ({layout.syntax.name}), but its images are not; "
            "export it from the machine again."
        )
    offsets = value_of(header.ds, "ExtendedOffsetTable") or b""
    extended = tuple(np.frombuffer(offsets[: len(offsets) // 8 * 8], "<u8").tolist())
    with path.open("rb") as file:
        table = encapsulated_frames(
            file,
            header.element,
            path.stat().st_size,
            header.declared_frames or 1,
            extended=extended,
            one_fragment_each=layout.syntax == RLELossless,
        )
    notes = _count_notes(path.name, header, table)
    layout, format_notes = _as_compressed(layout, read_spans(path, table.frames[0])[:_HEAD])
    return PixelData(path, layout, table, [*format_notes, *notes])


def _as_compressed(layout: Layout, data: bytes) -> tuple[Layout, list[str]]:
    """Return the layout with the bits and components stated in the first compressed frame.

    With other values, decoders return corrupt frames or crash.
    """
    found = codestream_format(data)
    if found is None or found.components not in (1, 3):
        return layout, []
    bits, samples = found.precision, found.components
    if (bits, samples) == (layout.bits_stored, layout.samples):
        return layout, []
    photometric = layout.photometric
    if samples != layout.samples:
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
    note = (
        f"The header states {layout.samples} x {layout.bits_stored} bits per pixel, but the compressed "
        f"frames have {samples} x {bits} and are read as such."
    )
    allocated = 8 if bits <= 8 else 16
    return replace(
        layout,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=bits,
        high_bit=bits - 1,
    ), [note]


def _reject_layout(name: str, layout: Layout) -> None:
    if not layout.is_readable:
        raise CineError(
            f"{name} has a pixel format that Apical cannot read "
            f"({layout.photometric[:16]}, {layout.samples} x {layout.bits_allocated} bit); export it as JPEG."
        )


def _count_notes(name: str, header: Header, table: FrameTable) -> list[str]:
    """Return warnings about missing and surplus frames; reject a file without any complete frame."""
    found, declared = len(table.frames), header.declared_frames
    if found == 0:
        raise CineError(
            f"{name} is truncated and has no complete frame; copy it again from where it came from."
        )
    if found == (declared or 1):
        return []
    if declared is None:
        return [f"The file does not state its number of frames: {found} were found."]
    if found > declared:
        stated = "one frame" if declared == 1 else f"{declared} frames"
        return [f"The file states {stated}, but has {found}: all of them are used."]
    reason = "is truncated" if table.truncated else "has fewer frames than stated"
    return [
        f"The file {reason}: {found} of {declared} frames can be read; copy it again if you need the others."
    ]
