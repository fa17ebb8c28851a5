"""Compression of label images for the history and the project file."""

from __future__ import annotations

import zlib

import numpy as np

from vjepa_core.label_image import LabelImage


def pack_pixels(image: LabelImage) -> bytes:
    """Compress label pixels row by row with zlib at its fastest level: label images are mostly uniform."""
    return zlib.compress(np.ascontiguousarray(image, dtype=np.uint8).tobytes(), 1)


def unpack_pixels(packed: bytes, shape: tuple[int, int]) -> LabelImage:
    """Decompress the result of `pack_pixels` into a read-only uint8 array of this shape.

    Raises
    ------
    ValueError
        If the bytes are damaged or do not fill `shape`.
    """
    size = shape[0] * shape[1]
    try:
        # The bound prevents damaged bytes from expanding to gigabytes.
        pixels = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"damaged label pixels: {error}") from error
    if len(pixels) != size:
        raise ValueError(f"label pixels do not fill {shape[0]}x{shape[1]}")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(shape)
