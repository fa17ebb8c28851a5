"""Uncompressed pixel data: which layout and how many frames fit the bytes that are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.readers.decode import FrameDecoder
from app.readers.layout import PHOTOMETRIC, SUBSAMPLED, Layout

_SMOOTHER, _MUCH_SMOOTHER = 0.9, 0.6
"""Roughness, relative to that of the stated layout, below which another layout is believed instead: where the
length of the data contradicts the header, and where it does not."""
_PADDING = 8
"""Bytes: one makes the length even, some writers fill up words."""
_YBR, _NOT_YBR = 10.0, 40.0
_TORN = 3.0
"""Grey levels: mean colourfulness above which the planes may have been mixed up."""


@dataclass(frozen=True)
class Interpretation:
    """The layout to decode with, the number of frames that it gives, and sentences for the user."""

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
        As the header says.
    declared : int or None
        NumberOfFrames, None where it is absent.
    length : int
        Bytes of pixel data.
    read : callable
        ``read(n) -> bytes``: the first n bytes of the pixel data, or as many as there are.

    Returns
    -------
    Interpretation
        The stated layout wherever it fits. Otherwise another one that fits the length and gives a much
        smoother picture; otherwise as many frames of the stated layout as there are.
    """
    wanted = declared or 1
    known = stated.is_readable and 0 < stated.frame_bytes <= length
    if known and fits(stated, wanted, length):
        return (
            _with_true_bits(ds, stated, wanted, read)
            or _with_true_planes(ds, stated, wanted, read)
            or _with_true_colours(ds, stated, wanted, read)
        )
    others = [
        _with_true_colours(ds, c, wanted, read).layout
        for c in _alternatives(stated)
        if c.is_readable and fits(c, wanted, length)
    ]
    rough = {c: _roughness(ds, c, read) for c in ([stated] if known else []) + others}
    best = min(others, key=rough.__getitem__, default=None)
    if best is not None and (not known or rough[best] < _SMOOTHER * rough[stated]):
        note = (
            f"The header says {_words(stated)}, but the pixel data are {_words(best)}: "
            "they are read as such; check that the picture is right."
        )
        return Interpretation(best, wanted, [note])
    if not known:
        return Interpretation(stated, 0)
    there = length // stated.frame_bytes
    if fits(stated, there, length):
        return _with_true_colours(ds, stated, there, read)
    note = (
        f"The pixel data are {length} bytes long, which is no whole number of frames: "
        "check that the picture is right."
    )
    return Interpretation(stated, there if declared is None else min(there, wanted), [note])


def fits(layout: Layout, n_frames: int, length: int) -> bool:
    """True where so many frames are exactly so long, but for some bytes of padding."""
    return 0 <= length - n_frames * layout.frame_bytes <= _PADDING


def _alternatives(stated: Layout) -> list[Layout]:
    """Layouts that programs leave a wrong header for: other colours, other word length."""
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
    """How much neighbouring pixels of the first frame differ, relative to its contrast."""
    try:
        picture = FrameDecoder(ds, layout).luma(read(layout.frame_bytes)).astype(np.float32)
    except Exception:
        return float("inf")
    if min(picture.shape) < 2:
        return float("inf")
    contrast = float(np.abs(picture - picture.mean()).mean())
    steps = sum(float(np.abs(np.diff(picture, axis=axis)).mean()) for axis in (0, 1))
    return steps / (contrast + 0.5)


def _with_true_bits(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation | None:
    """Another BitsStored where the values use more bits and the picture is torn without them."""
    low_aligned = layout.high_bit == layout.bits_stored - 1 and not layout.signed
    if layout.samples != 1 or layout.bits_allocated != 16 or not low_aligned or layout.bits_stored == 16:
        return None
    order = "<u2" if layout.syntax.is_little_endian else ">u2"
    data = read(layout.frame_bytes)
    used = int(np.frombuffer(data[: len(data) // 2 * 2], order).max(initial=0)).bit_length()
    if used <= layout.bits_stored:
        return None
    wider = replace(layout, bits_stored=used, high_bit=used - 1)
    if _roughness(ds, wider, read) >= _MUCH_SMOOTHER * _roughness(ds, layout, read):
        return None
    note = f"The header says {layout.bits_stored} bits a pixel, but {used} are used: they are read as such."
    return Interpretation(wider, n_frames, [note])


def _with_true_planes(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation | None:
    """The other PlanarConfiguration where the picture has nearly no colours with it and is smoother."""
    if layout.samples != 3 or layout.photometric in SUBSAMPLED or layout.bits_allocated != 8:
        return None
    other = replace(layout, planar=1 - (layout.planar == 1))
    try:
        stated, swapped = (
            min(_colourfulness(FrameDecoder(ds, which).samples(read(which.frame_bytes))[0]))
            for which in (layout, other)
        )
    except Exception:  # not one whole frame is there, which is said elsewhere
        return None
    if stated < _TORN or swapped >= stated / 2:
        return None
    if _roughness(ds, other, read) >= _roughness(ds, layout, read):
        return None
    note = f"The header says PlanarConfiguration {layout.planar}, but the pixel data have {other.planar}."
    found = _with_true_colours(ds, other, n_frames, read)
    return replace(found, notes=[note, *found.notes])


def _with_true_colours(
    ds: Dataset, layout: Layout, n_frames: int, read: Callable[[int], bytes]
) -> Interpretation:
    """Tell RGB from YBR_FULL by the values: decompressing programs leave either label on either data."""
    if layout.photometric not in {"RGB", "YBR_FULL"} or layout.bits_allocated != 8:
        return Interpretation(layout, n_frames)
    try:
        values, _ = FrameDecoder(ds, layout).samples(read(layout.frame_bytes))
    except Exception:  # not one whole frame is there, which is said elsewhere
        return Interpretation(layout, n_frames)
    real = _colour_space(values)
    if real is None or real == layout.photometric:
        return Interpretation(layout, n_frames)
    note = f"The header says {layout.photometric}, but the pixel values are {real}: they are read as such."
    return Interpretation(replace(layout, photometric=real), n_frames, [note])


def _colour_space(values: NDArray[np.uint8]) -> str | None:
    """RGB or YBR_FULL, None where it is not clear: most of an ultrasound picture is grey."""
    from_grey, from_centre = _colourfulness(values)
    if from_centre < _YBR and from_grey > _NOT_YBR:
        return "YBR_FULL"
    if from_grey < _YBR and from_centre > _NOT_YBR:
        return "RGB"
    return None


def _colourfulness(values: NDArray[np.uint8]) -> tuple[float, float]:
    """How far the picture is from grey, in grey levels, if it is RGB and if it is YBR_FULL."""
    first, others = values[..., :1].astype(np.int16), values[..., 1:].astype(np.int16)
    return float(np.abs(others - first).mean()), float(np.abs(others - 128).mean())


def _words(layout: Layout) -> str:
    bits = 8 * layout.frame_bytes // (layout.rows * layout.columns)
    return f"{layout.photometric[:16]} with {bits} bits a pixel"
