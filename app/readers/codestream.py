"""Headers of JPEG and JPEG 2000 data, read without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# All SOF markers of JPEG (ITU-T T.81 B.1.1.3) and that of JPEG-LS; C4, C8 and CC are other segments.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


class SizeMismatchError(ValueError):
    """The size of a compressed frame differs from that in the DICOM header."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(f"{width}x{height} pixels")


@dataclass(frozen=True)
class CodestreamFormat:
    """Size in pixels, bits per sample, and number of components."""

    width: int
    height: int
    precision: int
    components: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def codestream_format(data: bytes) -> CodestreamFormat | None:
    """Read the header of a compressed frame.

    Parameters
    ----------
    data : bytes
        One frame of JPEG, JPEG-LS or JPEG 2000 (with or without JP2 boxes), or its first part.

    Returns
    -------
    CodestreamFormat or None
        None for another format, such as RLE, and for data that end within the header.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"\0\0\0\x0cjP"):
            start = data.find(b"\xff\x4f\xff\x51")
            return None if start < 0 else _jpeg_2000(data, start)
        if data.startswith(b"\xff\x4f\xff\x51"):
            return _jpeg_2000(data, 0)
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> CodestreamFormat | None:
    position = 2
    while position < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        position += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in _START_OF_FRAME:
            precision, height, width, components = struct.unpack_from(">BHHB", data, position + 2)
            return CodestreamFormat(width, height, precision, components)
        position += struct.unpack_from(">H", data, position)[0]
    return None


def _jpeg_2000(data: bytes, start: int) -> CodestreamFormat:
    x1, y1, x0, y0 = struct.unpack_from(">4L", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    return CodestreamFormat(x1 - x0, y1 - y0, (depth & 0x7F) + 1, components)
