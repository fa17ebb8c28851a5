"""Pictures of more than 8 bits as 8-bit grey levels, by the range that the whole cine uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame

Values = NDArray[Any]
"""A picture as it is stored, shape (height, width)."""


def grey_scale(pictures: Iterable[Values]) -> tuple[Callable[[Values], Frame], list[str]]:
    """One conversion for all pictures of a cine.

    8-bit pictures stay as they are. Of unsigned integers the bits that are really used decide what is
    white (programs store 10 or 12 bits in 16); of others the largest value.

    Parameters
    ----------
    pictures : iterable of ndarray
        All pictures of the cine.

    Returns
    -------
    callable
        From a stored picture to uint8.
    list of str
        Sentences for the user.

    Raises
    ------
    ValueError
        No finite value anywhere.
    """
    low, high, kind = np.inf, -np.inf, np.dtype(np.uint8)
    for picture in pictures:
        if picture.dtype == np.uint8:
            continue
        kind = picture.dtype
        finite = picture if picture.dtype.kind in "iu" else picture[np.isfinite(picture)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if kind == np.uint8:
        return lambda picture: np.asarray(picture, np.uint8), []
    if not high >= low:
        raise ValueError("no finite values")
    notes = []
    if kind.kind == "u":
        bits = max(int(high).bit_length(), 8)
        low, high = 0.0, 2.0**bits - 1
        if bits < 8 * kind.itemsize:
            notes.append(f"The images use {bits} of {8 * kind.itemsize} bits: {high:.0f} is shown as white.")
    elif low >= 0 and 1.5 < high <= 255:
        low, high = 0.0, 255.0  # grey levels in wider words
    scale = 255.0 / max(high - low, 1e-9)

    def convert(picture: Values) -> Frame:
        if picture.dtype == np.uint8:
            return np.asarray(picture, np.uint8)
        grey = np.nan_to_num((picture.astype(np.float32) - low) * scale, posinf=255.0, neginf=0.0)
        return np.asarray(np.rint(np.clip(grey, 0, 255)), np.uint8)

    return convert, notes
