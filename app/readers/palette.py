"""Lookup tables of PALETTE COLOR from stored values to luma and chroma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from app.readers.tags import numbers, value_of

Table = NDArray[np.uint8]
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_MAX_ENTRIES = 4 * 65536


def palette_tables(ds: Dataset, bits_stored: int, little: bool) -> tuple[Table, Table]:
    """Compute luma (Rec. 601) and chroma (largest minus smallest of R, G, B) of all stored values.

    Parameters
    ----------
    ds : Dataset
        With the Palette Color Lookup Table Module, plain or segmented (PS3.3 C.7.6.3.1.5, C.7.9.2).
    bits_stored : int
    little : bool
        Byte order of the file: pydicom does not swap the tables of a big-endian file.

    Returns
    -------
    luma, chroma : ndarray, shape (2 ** bits_stored,), uint8

    Raises
    ------
    ValueError
        A segmented table is longer than the range of values.
    """
    _reject_oversized(ds)
    if not little:
        ds = _swapped(ds)
    values = np.arange(2**bits_stored, dtype=np.uint8 if bits_stored <= 8 else np.uint16)
    rgb = apply_color_lut(values[None], ds)[0][..., :3]
    # 16-bit entries have the colour in the high byte; some files store 8-bit values in them.
    if rgb.dtype != np.uint8:
        rgb = (rgb >> 8 if rgb.max(initial=0) > 255 else rgb).astype(np.uint8)
    luma = np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return luma, rgb.max(axis=-1) - rgb.min(axis=-1)


def _reject_oversized(ds: Dataset) -> None:
    """Sum up the lengths of segments before they are expanded: a few bytes can expand to gigabytes."""
    for colour in ("Red", "Green", "Blue"):
        data = value_of(ds, f"Segmented{colour}PaletteColorLookupTableData") or b""
        narrow = numbers(ds, f"{colour}PaletteColorLookupTableDescriptor")[2:] == [8.0]
        words = np.frombuffer(data[: len(data) // 2 * 2], "u1" if narrow else "<u2").tolist()
        position = total = longest = 0
        while position + 1 < len(words):
            kind, count = words[position], words[position + 1]
            # Discrete, linear, and indirect, which repeats `count` earlier segments (PS3.3 C.7.9.2).
            total += count * longest if kind == _INDIRECT else count
            longest = max(longest, count)
            position += {_DISCRETE: 2 + count, _LINEAR: 3}.get(kind, 4)
        if total > _MAX_ENTRIES:
            raise ValueError("the segmented palette is too long")


def _swapped(ds: Dataset) -> Dataset:
    out = Dataset()
    for colour in ("Red", "Green", "Blue"):
        descriptor = f"{colour}PaletteColorLookupTableDescriptor"
        data = f"{colour}PaletteColorLookupTableData"
        if data not in ds:
            return ds  # pydicom swaps segmented tables
        setattr(out, descriptor, ds[descriptor].value)
        setattr(out, data, np.frombuffer(ds[data].value, ">u2").astype("<u2").tobytes())
    return out
