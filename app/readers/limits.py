"""Bounds on what a header may ask for, checked before anything of that size is allocated."""

from __future__ import annotations

from app.domain.errors import CineError

MAX_PIXELS = 1 << 25
"""Pixels of one frame: 33 million, ten times the largest ultrasound picture."""
MAX_UNPACKED = 1 << 29
"""Bytes that a compressed file may unpack to in memory: 512 MiB."""
_MIN_PIXELS = 64


def check_size(name: str, width: int, height: int) -> None:
    """Refuse a picture size that no cine has.

    Parameters
    ----------
    name : str
        Of the file, for the message.
    width, height : int
        Pixels, as the file states them.

    Raises
    ------
    CineError
        Too large or too small.
    """
    if width * height > MAX_PIXELS:
        raise CineError(
            f"{name} says that its pictures are {width}x{height} pixels, more than Apical reads; "
            "export it again, or scale it down."
        )
    if width < 1 or height < 1 or width * height < _MIN_PIXELS:
        raise CineError(
            f"{name} says that its pictures are {width}x{height} pixels; export it from the machine again."
        )
