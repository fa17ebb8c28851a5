"""Positions of each frame's bytes in a DICOM file, found without reading the pixel data itself."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.encaps import parse_basic_offsets

UNDEFINED = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_DELIMITER = (0xFFFE, 0xE0DD)
_LONG_VRS = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"UN"}
_START_OF_IMAGE = b"\xff\xd8\xff"
"""First bytes of JPEG and JPEG-LS."""
_START_OF_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0c")
"""First bytes of a JPEG 2000 codestream, and of its JP2 boxes."""
_END_OF_IMAGE = b"\xff\xd9"

Span = tuple[int, int]
"""Offset in the file and length, both in bytes."""


@dataclass(frozen=True)
class PixelElement:
    """The value of PixelData; `length` is `UNDEFINED` if it is encapsulated (PS3.5 A.4)."""

    offset: int
    length: int
    vr: str


def pixel_element(file: BinaryIO, explicit: bool, little: bool) -> PixelElement:
    """Read the element header at the file's position (PS3.5 7.1).

    Parameters
    ----------
    file : BinaryIO
    explicit : bool
        The transfer syntax has explicit VRs.
    little : bool
        The transfer syntax is little-endian.

    Returns
    -------
    PixelElement

    Raises
    ------
    struct.error
        The file ends within the header.
    """
    order = "<" if little else ">"
    file.read(4)
    if not explicit:
        (length,) = struct.unpack(order + "L", file.read(4))
        return PixelElement(file.tell(), length, "OW")
    vr = file.read(2)
    if vr in _LONG_VRS:
        (length,) = struct.unpack(order + "2xL", file.read(6))
    else:
        (length,) = struct.unpack(order + "H", file.read(2))
    return PixelElement(file.tell(), length, vr.decode("latin-1"))


@dataclass(frozen=True)
class FrameTable:
    """Spans of all complete frames.

    Attributes
    ----------
    frames : tuple of tuple of Span
        One or more fragments of each frame.
    value : Span
        The part of the PixelData value that the file contains: the part that is hashed.
    truncated : bool
        The file ends before the value does.
    """

    frames: tuple[tuple[Span, ...], ...]
    value: Span
    truncated: bool


def native_frames(element: PixelElement, size: int, frame_bytes: int, n_frames: int) -> FrameTable:
    """Locate the frames of uncompressed pixel data, which follow each other without gaps.

    Parameters
    ----------
    element : PixelElement
    size : int
        Bytes of the whole file.
    frame_bytes : int
        Bytes of one frame.
    n_frames : int
        Expected number of frames.

    Returns
    -------
    FrameTable
    """
    available = max(0, min(element.length, size - element.offset))
    n = min(n_frames, available // frame_bytes)
    return FrameTable(
        frames=tuple(((element.offset + i * frame_bytes, frame_bytes),) for i in range(n)),
        value=(element.offset, available),
        truncated=element.length > available,
    )


def encapsulated_frames(
    file: BinaryIO,
    element: PixelElement,
    size: int,
    n_frames: int,
    *,
    extended: Sequence[int] = (),
    one_fragment_each: bool = False,
) -> FrameTable:
    """Locate the frames of compressed pixel data from the headers of its items.

    Parameters
    ----------
    file : BinaryIO
        The DICOM file.
    element : PixelElement
    size : int
        Bytes of the whole file.
    n_frames : int
        NumberOfFrames, used only to choose a way of grouping the fragments, see `_frame_starts`.
    extended : sequence of int
        ExtendedOffsetTable, bytes from the first fragment's item header.
    one_fragment_each : bool
        The transfer syntax does not allow a frame in several fragments (RLE, PS3.5 A.4.2).

    Returns
    -------
    FrameTable
    """
    items, end, complete = _complete_items(file, element.offset, size)
    if len(items) < 2:  # only the offset table
        return FrameTable((), (element.offset, 0), True)
    fragments = items[1:]
    if one_fragment_each:
        starts = list(range(len(fragments)))
    else:
        offsets = list(extended) or _basic_offsets(file, element.offset)
        starts = _frame_starts(file, fragments, n_frames, offsets, complete)
    groups = [tuple(fragments[a:b]) for a, b in zip(starts, [*starts[1:], len(fragments)], strict=True)]
    # If frames have several fragments, the last frame of a truncated file may be incomplete.
    if not complete and any(len(group) > 1 for group in groups) and not _ends_frame(file, groups[-1][-1]):
        groups.pop()
    return FrameTable(tuple(groups), (element.offset, end - element.offset), not complete)


def _complete_items(file: BinaryIO, start: int, size: int) -> tuple[list[Span], int, bool]:
    """Return the spans of the items up to the first damaged one, their end, and True if none is damaged.

    `pydicom.encaps.parse_fragments` raises for a truncated file, and the intact items are lost.
    """
    spans: list[Span] = []
    position = start
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return spans, position, False
        group, number, length = struct.unpack("<HHL", head)
        if (group, number) != _ITEM:
            return spans, position, (group, number) == _SEQUENCE_DELIMITER
        if position + 8 + length > size:
            return spans, position, False
        spans.append((position + 8, length))
        position += 8 + length


def _basic_offsets(file: BinaryIO, start: int) -> list[int]:
    file.seek(start)
    try:
        return parse_basic_offsets(file)
    except ValueError:  # not a whole number of offsets
        return []


def _frame_starts(
    file: BinaryIO, fragments: list[Span], n_frames: int, offsets: list[int], complete: bool
) -> list[int]:
    """Return the index of the first fragment of every frame.

    In this order: an offset table with NumberOfFrames entries, one fragment for each frame, an offset table
    of another length, and the markers that start a JPEG or JPEG 2000 image.
    """
    base = fragments[0][0] - 8
    index_at = {start - 8 - base: i for i, (start, _) in enumerate(fragments)}
    table = [index_at[o] for o in offsets if o in index_at]
    if not table or table[0] != 0 or table != sorted(set(table)) or (complete and len(table) < len(offsets)):
        table = []
    if table and len(offsets) == n_frames:
        return table
    if len(fragments) == n_frames:
        return list(range(n_frames))
    if len(table) > 1:
        return table
    starts = []
    for i, (start, _) in enumerate(fragments):
        file.seek(start)
        head = file.read(4)
        if head.startswith(_START_OF_IMAGE) or head in _START_OF_JPEG_2000:
            starts.append(i)
    if starts and starts[0] == 0:
        return starts
    return [0] if n_frames == 1 else list(range(len(fragments)))


def _ends_frame(file: BinaryIO, fragment: Span) -> bool:
    """Check for the marker that ends a JPEG or JPEG 2000 image, before the padding."""
    start, length = fragment
    file.seek(start + max(0, length - 4))
    return _END_OF_IMAGE in file.read(min(4, length))


def read_spans(path: Path, spans: tuple[Span, ...]) -> bytes:
    """Read and join parts of a file.

    The file is opened on each call, which is safe in threads and keeps no file open.

    Parameters
    ----------
    path : Path
    spans : tuple of Span

    Returns
    -------
    bytes
    """
    with path.open("rb") as file:
        parts = []
        for start, length in spans:
            file.seek(start)
            parts.append(file.read(length))
    return b"".join(parts)


def sha256_of(path: Path, span: Span | None = None) -> str:
    """Return the hexadecimal SHA-256 of a file, or of a part of it."""
    digest = hashlib.sha256()
    for block in _blocks(path, span):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, span: Span | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        start, left = span or (0, path.stat().st_size)
        file.seek(start)
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            left -= len(block)
            yield block
