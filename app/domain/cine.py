"""A cine: frames, time, calibration and region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vjepa_core.label_image import LabelImage, structure_mask

Frame = NDArray[np.uint8]
"""Grey values of one frame, shape (height, width), uint8."""

_STEP = 32
_MAX_ASPECT = 4.0
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Box:
    """Half-open pixel rectangle: columns x0..x1-1, rows y0..y1-1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices: ``frame[box.slices]``."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def contains(self, x: float, y: float) -> bool:
        """Return True if the position (column x, row y) lies in the box."""
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1

    def extended_to(self, labels: Iterable[LabelImage]) -> Box:
        """Return the smallest extension of this box that contains every structure of the label images.

        A side that moves is rounded to a multiple of 32 pixels within the frame, so that a later correction
        of an outline rarely moves it again and invalidates what was computed for the box.
        """
        x0, y0, x1, y1 = self.x0, self.y0, self.x1, self.y1
        for label in labels:
            drawn = structure_mask(label)
            rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
            if len(rows):
                height, width = label.shape
                y0, y1 = _extended(y0, y1, int(rows[0]), int(rows[-1]) + 1, height)
                x0, x1 = _extended(x0, x1, int(columns[0]), int(columns[-1]) + 1, width)
        return Box(x0, y0, x1, y1)


def _extended(start: int, end: int, first: int, last: int, edge: int) -> tuple[int, int]:
    """Extend the range from `start` to `end` to contain `first` to `last`, in steps."""
    if first < start:
        start = first // _STEP * _STEP
    if last > end:
        end = min(edge, -(-last // _STEP) * _STEP)
    return start, end


class TimingSource(StrEnum):
    """Origin of the frame times of a cine, the most reliable first."""

    FRAME_TIME = "FrameTime"
    FRAME_TIME_VECTOR = "FrameTimeVector"
    CINE_RATE = "CineRate"
    RECOMMENDED_DISPLAY_FRAME_RATE = "RecommendedDisplayFrameRate"
    CONTAINER = "container"  # times stated by mp4, avi, gif or NIfTI
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Timing:
    """Time of every frame in milliseconds from the first one, and its origin."""

    times_ms: NDArray[np.float64]
    source: TimingSource

    @property
    def fps(self) -> float:
        """Mean frame rate in Hz; 0 for a single frame."""
        if len(self.times_ms) < 2:
            return 0.0
        return 1000.0 * (len(self.times_ms) - 1) / float(self.times_ms[-1] - self.times_ms[0])


@dataclass(frozen=True)
class Calibration:
    """Size of a pixel of a region in millimetres, and the DICOM tag or file field that states it."""

    mm_per_px_x: float
    mm_per_px_y: float
    source: str


@dataclass(frozen=True)
class Region:
    """One item of SequenceOfUltrasoundRegions, with the values of the file.

    `calibration` is the size of this region's pixels; None if the region is not a two-dimensional image
    measured in centimetres, or if the size is not plausible.

    References
    ----------
    DICOM PS3.3, C.8.5.5.
    """

    box: Box
    spatial_format: int
    data_type: int
    units_x: int
    units_y: int
    delta_x: float
    delta_y: float
    calibration: Calibration | None = None


class FrameSource(Protocol):
    """Decoder of frames on demand; safe to use from several threads."""

    def frame(self, index: int) -> Frame:
        """Return one frame as luma, from memory or decoded; blocks until it is available."""
        ...

    def is_decoded(self, index: int) -> bool:
        """Return True if the frame is in memory."""
        ...

    def prefetch(self, order: Iterable[int], on_frame: Callable[[int], None] | None = None) -> None:
        """Decode frames in background threads, in this order; `on_frame` is called in such a thread."""
        ...

    def close(self) -> None:
        """Stop the threads and free the memory."""
        ...


@dataclass(frozen=True, eq=False)
class Cine:
    """One ultrasound video or still. It has no patient name, id or date, by design.

    Attributes
    ----------
    path : Path
        File, or folder of images.
    uid, study_uid : str
        SOPInstanceUID and StudyInstanceUID; "" if the file states none.
    content_hash : str
        SHA-256 of the pixel data, without the header.
    n_frames, height, width : int
    timing : Timing
    calibration : Calibration or None
        Pixel size in `region` only; use `calibration_at` or `calibration_of` to measure.
    regions : tuple of Region
        All regions that the file states.
    region : Box
        Rectangle of the ultrasound image; nothing outside it reaches the encoder.
    region_source : str
        "SequenceOfUltrasoundRegions", "found from motion", "found from shape" (a still) or "whole image".
    colour_doppler : bool
        True if colour was seen in the image or the file lists a colour flow region. The tag
        UltrasoundColorDataPresent alone is also set by a green ECG.
    burned_in_annotation : str or None
        Value of the tag BurnedInAnnotation.
    view : str or None
        Name of a `View`, only if the file states one.
    pixel_format : str
        For display.
    warnings : tuple of str
        Sentences for the user.
    source : FrameSource
    affine : ndarray of float, shape (4, 4), or None
        Maps (column, row, 0, 1) to millimetres; None unless the file is a NIfTI that states it.
    r_waves_ms : tuple of float
        Times of R waves from the first frame, ascending; empty if the file states none.
    """

    path: Path
    uid: str
    content_hash: str
    n_frames: int
    height: int
    width: int
    timing: Timing
    calibration: Calibration | None
    regions: tuple[Region, ...]
    region: Box
    region_source: str
    colour_doppler: bool
    burned_in_annotation: str | None
    view: str | None
    pixel_format: str
    warnings: tuple[str, ...]
    source: FrameSource
    affine: NDArray[np.float64] | None = None
    study_uid: str = ""
    r_waves_ms: tuple[float, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Width and height of a pixel of the region in mm; None if the file does not state them."""
        size = self.calibration
        return None if size is None else (size.mm_per_px_x, size.mm_per_px_y)

    @property
    def pixel_aspect(self) -> float:
        """Height of a pixel of the region divided by its width, both in mm.

        1 if the file states no pixel size, if width and height differ only by rounding, or if the ratio is
        beyond `_MAX_ASPECT` or its inverse, which is more likely an error in the file.
        """
        if self.calibration is None:
            return 1.0
        ratio = self.calibration.mm_per_px_y / self.calibration.mm_per_px_x
        if abs(ratio - 1.0) < _ROUNDING or not 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT:
            return 1.0
        return ratio

    def frame(self, index: int) -> Frame:
        """Return the luma of one frame, shape (height, width), uint8, decoded if necessary."""
        return self.source.frame(index)

    def calibration_at(self, x: float, y: float) -> Calibration | None:
        """Return the pixel size at a position in the frame.

        Parameters
        ----------
        x, y : float
            Column and row, pixels.

        Returns
        -------
        Calibration or None
            Of the smallest calibrated region around the position; None outside every region. A file
            without regions, such as a NIfTI, has one pixel size for the whole frame.
        """
        if not self.regions:
            inside = Box(0, 0, self.width, self.height).contains(x, y)
            return self.calibration if inside else None
        return next((found for box, found in self._calibrated() if box.contains(x, y)), None)

    def calibration_of(self, mask: NDArray[np.bool_]) -> Calibration | None:
        """Return the pixel size of a structure.

        Parameters
        ----------
        mask : ndarray of bool, shape (height, width)

        Returns
        -------
        Calibration or None
            None if more than 1 % of the structure lies outside every region, if its parts have different
            pixel sizes, and for an empty mask.
        """
        if not self.regions:
            return self.calibration if mask.any() else None
        remaining = np.array(mask, bool)
        total = int(remaining.sum())
        pixels: dict[Calibration, int] = {}
        for box, found in self._calibrated():
            part = remaining[max(box.y0, 0) : max(box.y1, 0), max(box.x0, 0) : max(box.x1, 0)]
            pixels[found] = pixels.get(found, 0) + int(part.sum())
            part[...] = False
        most = max(pixels, key=pixels.__getitem__, default=None)
        return (
            most if most is not None and pixels[most] > 0 and total - pixels[most] <= 0.01 * total else None
        )

    def _calibrated(self) -> list[tuple[Box, Calibration]]:
        """Return the calibrated regions, the smallest first: an inset covers part of a larger image."""
        found = [(r.box, r.calibration) for r in self.regions if r.calibration is not None]
        return sorted(found, key=lambda pair: pair[0].width * pair[0].height)
