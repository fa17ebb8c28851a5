"""Conversion of frames with more than 8 bits to 8-bit grey levels, with one range for the whole cine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Frame

Values = NDArray[Any]
"""Stored values of one frame, shape (height, width)."""


def grey_scale(frames: Iterable[Values]) -> tuple[Callable[[Values], Frame], list[str]]:
    """Choose one conversion to grey levels for all frames of a cine.

    8-bit frames are not changed. For unsigned integers, white is the largest value of the bits in use,
    because programs store 10 or 12 bits in 16; for other types, it is the largest value.

    Parameters
    ----------
    frames : iterable of ndarray
        Stored values of all frames of the cine.

    Returns
    -------
    convert : callable
        ``convert(values) -> Frame``.
    notes : list of str
        Sentences for the user.

    Raises
    ------
    ValueError
        No value is finite.
    """
    low, high, kind = np.inf, -np.inf, np.dtype(np.uint8)
    for values in frames:
        if values.dtype == np.uint8:
            continue
        kind = values.dtype
        finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if kind == np.uint8:
        return lambda values: np.asarray(values, np.uint8), []
    if not high >= low:
        raise ValueError("no finite values")
    notes = []
    if kind.kind == "u":
        bits = max(int(high).bit_length(), 8)
        low, high = 0.0, 2.0**bits - 1
        if bits < 8 * kind.itemsize:
            notes.append(f"The images use {bits} of {8 * kind.itemsize} bits: {high:.0f} is shown as white.")
    elif low >= 0 and 1.5 < high <= 255:
        low, high = 0.0, 255.0  # 8-bit grey levels stored in a wider type
    scale = 255.0 / max(high - low, 1e-9)

    def convert(values: Values) -> Frame:
        if values.dtype == np.uint8:
            return np.asarray(values, np.uint8)
        grey = np.nan_to_num((values.astype(np.float32) - low) * scale, posinf=255.0, neginf=0.0)
        return np.asarray(np.rint(np.clip(grey, 0, 255)), np.uint8)

    return convert, notes
