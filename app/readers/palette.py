"""PALETTE COLOR as lookup tables from the stored value straight to luma and to chroma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from app.readers.tags import numbers, value_of

Table = NDArray[np.uint8]
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
_MOST_ENTRIES = 4 * 65536


def palette_tables(ds: Dataset, bits_stored: int, little: bool) -> tuple[Table, Table]:
    """Luma (Rec. 601) and chroma (largest minus smallest of R, G, B) of every stored value.

    Parameters
    ----------
    ds : Dataset
        With the Palette Color Lookup Table Module, plain or segmented (PS3.3 C.7.6.3.1.5, C.7.9.2).
    bits_stored : int
    little : bool
        Byte order of the file: pydicom reads the tables of a big-endian one the wrong way round.

    Returns
    -------
    luma, chroma : ndarray, shape (2 ** bits_stored,), uint8

    Raises
    ------
    ValueError
        A segmented table that would be longer than any value can reach.
    """
    _refuse_endless(ds)
    if not little:
        ds = _swapped(ds)
    values = np.arange(2**bits_stored, dtype=np.uint8 if bits_stored <= 8 else np.uint16)
    rgb = apply_color_lut(values[None], ds)[0][..., :3]
    # 16-bit entries carry the colour in the high byte; some files put 8-bit values into them.
    if rgb.dtype != np.uint8:
        rgb = (rgb >> 8 if rgb.max(initial=0) > 255 else rgb).astype(np.uint8)
    luma = np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return luma, rgb.max(axis=-1) - rgb.min(axis=-1)


def _refuse_endless(ds: Dataset) -> None:
    """Few bytes of segments can stand for gigabytes: their length is added up before they are expanded."""
    for colour in ("Red", "Green", "Blue"):
        data = value_of(ds, f"Segmented{colour}PaletteColorLookupTableData") or b""
        narrow = numbers(ds, f"{colour}PaletteColorLookupTableDescriptor")[2:] == [8.0]
        words = np.frombuffer(data[: len(data) // 2 * 2], "u1" if narrow else "<u2").tolist()
        at = total = longest = 0
        while at + 1 < len(words):
            kind, count = words[at], words[at + 1]
            # Discrete, linear, and indirect, which repeats `count` earlier segments (PS3.3 C.7.9.2).
            total += count * longest if kind == _INDIRECT else count
            longest = max(longest, count)
            at += {_DISCRETE: 2 + count, _LINEAR: 3}.get(kind, 4)
        if total > _MOST_ENTRIES:
            raise ValueError("a segmented palette without end")


def _swapped(ds: Dataset) -> Dataset:
    out = Dataset()
    for colour in ("Red", "Green", "Blue"):
        descriptor = f"{colour}PaletteColorLookupTableDescriptor"
        data = f"{colour}PaletteColorLookupTableData"
        if data not in ds:
            return ds  # segmented: pydicom heeds the byte order there
        setattr(out, descriptor, ds[descriptor].value)
        setattr(out, data, np.frombuffer(ds[data].value, ">u2").astype("<u2").tobytes())
    return out
