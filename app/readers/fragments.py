"""Where each frame's bytes lie in a DICOM file, found without reading the pixel data itself."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

UNDEFINED = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_LONG_VRS = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"UN"}

Span = tuple[int, int]
"""Offset in the file and length, both in bytes."""


@dataclass(frozen=True)
class PixelElement:
    """The value of PixelData: `length` is UNDEFINED where it is encapsulated (PS3.5 A.4)."""

    offset: int
    length: int
    vr: str


def pixel_element(file: BinaryIO, explicit: bool, little: bool) -> PixelElement:
    """Read the element header at the file's position (PS3.5 7.1).

    Raises
    ------
    struct.error
        The file ends inside of the header.
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
    """Spans of every complete frame; a frame may be spread over several fragments.

    Attributes
    ----------
    frames : tuple of tuple of Span
    value : Span
        The bytes of the PixelData value that are there: what is hashed.
    truncated : bool
        The file ends before the value does.
    """

    frames: tuple[tuple[Span, ...], ...]
    value: Span
    truncated: bool


def native_frames(element: PixelElement, size: int, frame_bytes: int, n_frames: int) -> FrameTable:
    """Frames of uncompressed pixel data, one after the other.

    Parameters
    ----------
    size : int
        Bytes of the whole file.
    frame_bytes, n_frames : int
        As the header and the length of the data say.
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
    extended: tuple[int, ...] = (),
    one_fragment_each: bool = False,
) -> FrameTable:
    """Frames of compressed pixel data, from the items' headers alone.

    Parameters
    ----------
    file : BinaryIO
        The DICOM file.
    n_frames : int
        NumberOfFrames: it decides nothing where the fragments tell another number, see `_frame_starts`.
    extended : tuple of int
        ExtendedOffsetTable, bytes from the first fragment's item header.
    one_fragment_each : bool
        The transfer syntax does not allow a frame in several fragments (RLE, PS3.5 A.4.2).
    """
    spans: list[Span] = []
    position, complete = element.offset, False
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        group, number, length = struct.unpack("<HHL", head)
        if (group, number) != _ITEM:
            complete = (group, number) == (0xFFFE, 0xE0DD)
            break
        if position + 8 + length > size:
            break
        spans.append((position + 8, length))
        position += 8 + length
    if len(spans) < 2:  # the offset table alone
        return FrameTable((), (element.offset, 0), True)
    table, fragments = spans[0], spans[1:]
    file.seek(table[0])
    basic = np.frombuffer(file.read(table[1] // 4 * 4), "<u4").tolist()
    starts = (
        list(range(len(fragments)))
        if one_fragment_each
        else _frame_starts(file, fragments, n_frames, list(extended) or basic, complete)
    )
    groups = [tuple(fragments[a:b]) for a, b in zip(starts, [*starts[1:], len(fragments)], strict=True)]
    # The last frame may go on beyond the end of the file, where frames have several fragments.
    if not complete and any(len(group) > 1 for group in groups) and not _ends_frame(file, groups[-1][-1]):
        groups.pop()
    return FrameTable(tuple(groups), (element.offset, position - element.offset), not complete)


def _frame_starts(
    file: BinaryIO, fragments: list[Span], n_frames: int, offsets: list[int], complete: bool
) -> list[int]:
    """Index of the first fragment of every frame.

    By (in this order) an offset table of as many frames as stated, one fragment each, an offset table of
    another number of frames, and the marker that starts a JPEG or JPEG 2000 picture.
    """
    base = fragments[0][0] - 8
    where = {start - 8 - base: i for i, (start, _) in enumerate(fragments)}
    table = [where[o] for o in offsets if o in where]
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
        # JPEG and JPEG-LS (SOI), JPEG 2000 (SOC, SIZ) and its boxes.
        if head[:3] == b"\xff\xd8\xff" or head in (b"\xff\x4f\xff\x51", b"\0\0\0\x0c"):
            starts.append(i)
    if starts and starts[0] == 0:
        return starts
    return [0] if n_frames == 1 else list(range(len(fragments)))


def _ends_frame(file: BinaryIO, fragment: Span) -> bool:
    """True where the fragment ends with the marker that ends a JPEG or JPEG 2000 picture."""
    start, length = fragment
    file.seek(start + max(0, length - 4))
    return b"\xff\xd9" in file.read(min(4, length))


def read_spans(path: Path, spans: tuple[Span, ...]) -> bytes:
    """Bytes of one frame. Opens the file each time: safe in threads, and holds no file open."""
    with path.open("rb") as file:
        parts = []
        for start, length in spans:
            file.seek(start)
            parts.append(file.read(length))
    return b"".join(parts)


def sha256_of(path: Path, span: Span | None = None) -> str:
    """Hexadecimal SHA-256 of a part of a file, or of all of it."""
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
