"""Limits on sizes stated in headers, checked before memory of that size is allocated."""

from __future__ import annotations

from app.domain.errors import CineError

MAX_PIXELS = 1 << 25
"""Pixels of one frame: 33 million, ten times the largest ultrasound image."""
MAX_UNPACKED = 1 << 29
"""Bytes to which a compressed file may expand in memory: 512 MiB."""
_MIN_PIXELS = 64


def check_size(name: str, width: int, height: int) -> None:
    """Reject an image size that no cine has.

    Parameters
    ----------
    name : str
        Name of the file for the message.
    width, height : int
        Size in pixels stated in the file.

    Raises
    ------
    CineError
        The size is too large or too small.
    """
    if width * height > MAX_PIXELS:
        raise CineError(
            f"{name} states an image size of {width}x{height} pixels, which is more than Apical reads; "
            "export it at a smaller size."
        )
    if width < 1 or height < 1 or width * height < _MIN_PIXELS:
        raise CineError(
            f"{name} states an image size of {width}x{height} pixels; export it from the machine again."
        )
