"""Uncompressed pixel data: the layout and the number of frames that fit the available bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.readers.decode import FrameDecoder
from app.readers.layout import PHOTOMETRIC, SUBSAMPLED, Layout

_SMOOTHER, _MUCH_SMOOTHER = 0.9, 0.6
"""Roughness, relative to that of the stated layout, below which another layout is used: the first value if
the length of the data contradicts the header, the second if it does not."""
_PADDING = 8
"""Largest number of padding bytes: one makes the length even, and some programs align to words."""
_GREY, _COLOURED = 10.0, 40.0
"""Mean distances from grey, in grey levels, of values in the right and in the wrong colour space."""
_MIXED_PLANES = 3.0
"""Mean distance from grey above which the PlanarConfiguration may be wrong."""


@dataclass(frozen=True)
class Interpretation:
    """The layout to decode with, the resulting number of frames, and notes for the user."""

    layout: Layout
    n_frames: int
    notes: list[str] = field(default_factory=list)


def interpret(
    ds: Dataset, stated: Layout, declared: int | None, length: int, read: Callable[[int], bytes]
) -> Interpretation:
    """Compare the header with the length of the pixel data.

    Parameters
    ----------
    ds : Dataset
        The header.
    stated : Layout
        Layout in the header.
    declared : int or None
        NumberOfFrames; None if it is absent.
    length : int
        Bytes of pixel data.
    read : callable
        ``read(n) -> bytes`` reads the first n bytes of the pixel data, or as many as exist.

    Returns
    -------
    Interpretation
        The stated layout if it fits; otherwise another one that fits the length and gives a much smoother
        image; otherwise as many frames of the stated layout as are complete.
    """
    wanted = declared or 1
    is_usable = stated.is_readable and 0 < stated.frame_bytes <= length
    if is_usable and fits(stated, wanted, length):
        return (
            _corrected_bits(ds, stated, wanted, read)
            or _corrected_planes(ds, stated, wanted, read)
            or _corrected_colours(ds, stated, wanted, read)
        )
    others = [
        _corrected_colours(ds, c, wanted, read).layout
        for c in _alternatives(stated)
        if c.is_readable and fits(c, wanted, length)
    ]
    rough = {c: _roughness(ds, c, read) for c in ([stated] if is_usable else []) + others}
    best = min(others, key=rough.__getitem__, default=None)
    if best is not None and (not is_usable or rough[best] < _SMOOTHER * rough[stated]):
        note = (
            f"The header states {_description(stated)}, but the pixel data are {_description(best)} "
            "and are read as such: check that the image is right."
        )
        return Interpretation(best, wanted, [note])
    if not is_usable:
        return Interpretation(stated, 0)
    complete = length // stated.frame_bytes
    if fits(stated, complete, length):
        return _corrected_colours(ds, stated, complete, read)
    note = (
        f"The pixel data are {length} bytes long, which is not a whole number of frames: "
        "check that the image is right."
    )
    return Interpretation(stated, complete if declared is None else min(complete, wanted), [note])


def fits(layout: Layout, n_frames: int, length: int) -> bool:
    """Return True if frames of this layout have this total length in bytes, up to padding."""
    return 0 <= length - n_frames * layout.frame_bytes <= _PADDING


def _alternatives(stated: Layout) -> list[Layout]:
    """List the layouts with other colours or another word length for which programs write wrong headers."""
    found: list[Layout] = []
    if stated.photometric not in PHOTOMETRIC:
        return found
    formats = (("RGB", 3, 0), ("RGB", 3, 1), ("YBR_FULL_422", 3, 0), ("MONOCHROME2", 1, 0))
    for photometric, samples, planar in formats:
        for bits in (8, 16):
            stored = stated.bits_stored if bits == stated.bits_allocated else bits
            other = replace(
                stated,
                photometric=photometric,
                samples=samples,
                planar=planar,
                bits_allocated=bits,
                bits_stored=stored,
                high_bit=stored - 1 if stored != stated.bits_stored else stated.high_bit,
            )
            if other.frame_bytes != stated.frame_bytes or not stated.is_readable:
                found.append(other)
    return found


def _roughness(ds: Dataset, layout: Layout, read: Callable[[int], bytes]) -> float:
    """Compute the mean difference of neighbouring pixels of the first frame, relative to its contrast."""
    try:
        frame = FrameDecoder(ds, layout).luma(read(layout.frame_bytes)).astype(np.float32)
    except Exception:
        return float("inf")
    if min(frame.shape) < 2:
        return float("inf")
    contrast = float(np.abs(frame - frame.mean()).mean())
    steps = sum(float(np.abs(np.diff(frame, axis=axis)).mean()) for axis in (0, 1))
    return steps / (contrast + 0.5)


def _corrected_bits(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation | None:
    """Return a larger BitsStored if the values use more bits and the image is much smoother with them."""
    is_low_aligned = layout.high_bit == layout.bits_stored - 1 and not layout.signed
    if layout.samples != 1 or layout.bits_allocated != 16 or not is_low_aligned or layout.bits_stored == 16:
        return None
    order = "<u2" if layout.syntax.is_little_endian else ">u2"
    data = read(layout.frame_bytes)
    used = int(np.frombuffer(data[: len(data) // 2 * 2], order).max(initial=0)).bit_length()
    if used <= layout.bits_stored:
        return None
    wider = replace(layout, bits_stored=used, high_bit=used - 1)
    if _roughness(ds, wider, read) >= _MUCH_SMOOTHER * _roughness(ds, layout, read):
        return None
    note = f"The header states {layout.bits_stored} bits per pixel, but {used} are in use and are read."
    return Interpretation(wider, n_frames, [note])


def _corrected_planes(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation | None:
    """Return the other PlanarConfiguration if the image is almost grey and smoother with it."""
    if layout.samples != 3 or layout.photometric in SUBSAMPLED or layout.bits_allocated != 8:
        return None
    other = replace(layout, planar=1 - (layout.planar == 1))
    try:
        stated, swapped = (
            min(_colourfulness(FrameDecoder(ds, which).samples(read(which.frame_bytes))[0]))
            for which in (layout, other)
        )
    except Exception:  # no complete frame, which is reported elsewhere
        return None
    if stated < _MIXED_PLANES or swapped >= stated / 2:
        return None
    if _roughness(ds, other, read) >= _roughness(ds, layout, read):
        return None
    note = f"The header states PlanarConfiguration {layout.planar}, but the pixel data have {other.planar}."
    found = _corrected_colours(ds, other, n_frames, read)
    return replace(found, notes=[note, *found.notes])


def _corrected_colours(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation:
    """Distinguish RGB from YBR_FULL by the values: programs that decompress often leave the old attribute."""
    if layout.photometric not in {"RGB", "YBR_FULL"} or layout.bits_allocated != 8:
        return Interpretation(layout, n_frames)
    try:
        values, _ = FrameDecoder(ds, layout).samples(read(layout.frame_bytes))
    except Exception:  # no complete frame, which is reported elsewhere
        return Interpretation(layout, n_frames)
    actual = _colour_space(values)
    if actual is None or actual == layout.photometric:
        return Interpretation(layout, n_frames)
    note = f"The header states {layout.photometric}, but the pixel values are {actual} and are read as such."
    return Interpretation(replace(layout, photometric=actual), n_frames, [note])


def _colour_space(values: NDArray[np.uint8]) -> str | None:
    """Return RGB or YBR_FULL, assuming that most of the image is grey; None if it is not clear."""
    as_rgb, as_ybr = _colourfulness(values)
    if as_ybr < _GREY and as_rgb > _COLOURED:
        return "YBR_FULL"
    if as_rgb < _GREY and as_ybr > _COLOURED:
        return "RGB"
    return None


def _colourfulness(values: NDArray[np.uint8]) -> tuple[float, float]:
    """Compute the mean distance from grey, in grey levels, of the values as RGB and as YBR_FULL."""
    first, others = values[..., :1].astype(np.int16), values[..., 1:].astype(np.int16)
    return float(np.abs(others - first).mean()), float(np.abs(others - 128).mean())


def _description(layout: Layout) -> str:
    bits = 8 * layout.frame_bytes // (layout.rows * layout.columns)
    return f"{layout.photometric[:16]} with {bits} bits per pixel"
