"""The frames of a DICOM file as bytes: how many there are, compared with what the header says."""

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
"""Bytes of a compressed picture in which it states its format."""


@dataclass(frozen=True)
class PixelData:
    """Frames of one file, the layout to decode them with, and sentences for the user."""

    path: Path
    layout: Layout
    table: FrameTable
    notes: list[str]
    inflated: bytes | None = None

    @property
    def n_frames(self) -> int:
        """Frames that are complete."""
        return len(self.table.frames)

    def read(self, index: int) -> bytes:
        """Bytes of one frame, from the file or from the inflated pixel data."""
        spans = self.table.frames[index]
        if self.inflated is None:
            return read_spans(self.path, spans)
        return b"".join(self.inflated[start : start + length] for start, length in spans)

    def content_hash(self) -> str:
        """SHA-256 of the pixel data that are there."""
        if self.inflated is not None:
            return hashlib.sha256(self.inflated).hexdigest()
        return sha256_of(self.path, self.table.value)


def pixel_data(path: Path, header: Header) -> PixelData:
    """Find the frames.

    Raises
    ------
    CineError
        No frame is complete, or the pixel format cannot be read.
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
        length = available  # the length itself is wrong, or so is the header
    found = interpret(header.ds, header.layout, header.declared_frames, length, start)
    layout = found.layout
    _refuse_layout(path.name, layout)
    table = native_frames(element, size, layout.frame_bytes, found.n_frames)
    if not table.frames and element.length <= available:
        raise CineError(
            f"{path.name} says that its pictures are {layout.columns}x{layout.rows} pixels, but holds only "
            f"{available} bytes of them; export it from the machine again."
        )
    notes = [*found.notes, *_count_notes(path.name, header, table)]
    return PixelData(path, layout, table, notes, inflated)


def _encapsulated(path: Path, header: Header) -> PixelData:
    layout = header.layout
    _refuse_layout(path.name, layout)
    if header.element.length != UNDEFINED and header.element.length == layout.frame_bytes * (
        header.declared_frames or 1
    ):
        raise CineError(
            f"{path.name} holds uncompressed pictures but says they are compressed "
            f"({layout.syntax.name}); export it from the machine again."
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
    """The layout with the bits and components that the first compressed picture states itself.

    Decoders that are told something else give torn pictures, or end the process.
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
        f"The header says {layout.samples} x {layout.bits_stored} bits a pixel, but the compressed pictures "
        f"have {samples} x {bits}: they are read as such."
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


def _refuse_layout(name: str, layout: Layout) -> None:
    if not layout.is_readable:
        raise CineError(
            f"{name} has a pixel format that Apical cannot read "
            f"({layout.photometric[:16]}, {layout.samples} x {layout.bits_allocated} bit); export it as JPEG."
        )


def _count_notes(name: str, header: Header, table: FrameTable) -> list[str]:
    """Warnings about missing and surplus frames; refuses a file in which no frame is complete."""
    found, declared = len(table.frames), header.declared_frames
    if found == 0:
        raise CineError(
            f"{name} is cut short: not one whole frame is there; copy it again from where it came from."
        )
    if found == (declared or 1):
        return []
    if declared is None:
        return [f"The file does not say how many frames it holds: {found} were found."]
    if found > declared:
        what = "one frame" if declared == 1 else f"{declared} frames"
        return [f"The file says that it holds {what}, but {found} are there: all of them are used."]
    why = "is cut short" if table.truncated else "holds fewer frames than it says"
    return [f"The file {why}: {found} of {declared} frames can be read; copy it again if they matter."]
