"""Completeness of video files from the structure of their boxes, without decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_PARENTS = (b"moov", b"trak", b"edts")
_MAX_BOXES = 10_000


def is_cut_short(path: Path) -> bool:
    """Check for a box or chunk that extends beyond the end of the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        False for formats other than MP4 and its relatives (ISO/IEC 14496-12), AVI (RIFF) and Matroska (EBML).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return int(struct.unpack("<L", head[4:8])[0]) + 8 > size
        if head[:4] == b"\x1aE\xdf\xa3":
            return _matroska_end(file) > size
        return any(end > size for _, _, end in _boxes(file, 0, size))


def has_hidden_frames(path: Path) -> bool:
    """Check for an MP4 edit list that hides frames, as trimming without recoding does.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        return _any_edit(file, 0, size)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, the start of the content and the end of each box in a part of the file."""
    for _ in range(_MAX_BOXES):
        file.seek(start)
        head = file.read(16)
        if start + 8 > end or len(head) < 8:
            return
        length, kind = struct.unpack(">L4s", head[:8])
        content = start + 8
        if length == 1 and len(head) == 16:
            (length,), content = struct.unpack(">Q", head[8:]), start + 16
        stop = end if length == 0 else start + length
        if stop < content:
            return
        yield kind, content, stop
        start = stop


def _any_edit(file: BinaryIO, start: int, end: int) -> bool:
    for kind, content, stop in _boxes(file, start, end):
        if kind in _PARENTS and stop <= end and _any_edit(file, content, stop):
            return True
        if kind == b"elst":
            file.seek(content)
            return _skips(file.read(min(stop - content, 64)))
    return False


def _skips(edit_list: bytes) -> bool:
    """Return True if there are several edits, or the first one starts after the first frame."""
    try:
        version, count = struct.unpack(">B3xL", edit_list[:8])
        first = struct.unpack(">Qq" if version == 1 else ">Ll", edit_list[8 : 24 if version == 1 else 16])
    except struct.error:
        return False
    return count > 1 or first[1] > 0


def _matroska_end(file: BinaryIO) -> int:
    """Return the end of the segment; 0 if it is unknown (a live recording)."""
    position = 0
    for _ in range(4):
        file.seek(position)
        head = file.read(16)
        name = _vint(head, keep_marker=True)
        length = _vint(head[name[1] :]) if name[1] else (0, 0)
        if not length[1]:
            return 0
        unknown = length[0] == (1 << (7 * length[1])) - 1
        content = position + name[1] + length[1]
        if name[0] == 0x18538067:  # Segment
            return 0 if unknown else content + length[0]
        position = content + length[0]
    return 0


def _vint(data: bytes, keep_marker: bool = False) -> tuple[int, int]:
    """Read a variable-size integer of EBML (RFC 8794); return it and its length in bytes, or (0, 0)."""
    if not data or not data[0]:
        return 0, 0
    length = 9 - data[0].bit_length()
    value = int.from_bytes(data[:length], "big")
    if not keep_marker:
        value &= (1 << (7 * length)) - 1
    return (value, length) if len(data) >= length else (0, 0)
