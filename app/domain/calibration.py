"""Calibration by hand: the pixel size that follows from two points of known distance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from app.domain.cine import Box, Calibration, Cine, Region
from app.domain.errors import ApicalError
from app.domain.facts import ManualCalibration, Point

BY_HAND = "by hand"
"""`Calibration.source` of a pixel size that was set by hand."""

SHORTEST_MM, LONGEST_MM = 1.0, 400.0
SHORTEST_PX = 20.0
"""A shorter distance on the picture cannot be set precisely enough."""
SMALLEST_PIXEL_MM, LARGEST_PIXEL_MM = 0.02, 3.0
"""An image of 1000 pixels then shows 2 cm to 3 m of depth: anything else is a wrong unit."""

_SLACK_PX = 2
"""Pixels by which a region may leave the frame: some files state the width as the last column."""
LARGEST_RATIO = 3.0
"""A pixel size that differs from that of the file by more than this factor is a wrong unit or point."""

_TWO_D = 1  # RegionSpatialFormat, DICOM PS3.3 C.8.5.5.1.1


class CalibrationError(ApicalError):
    """The points or the distance cannot be a calibration."""


def calibrate(
    cine: Cine, points: tuple[Point, Point], distance_mm: float, region: int | None = None
) -> ManualCalibration:
    """Return the calibration that follows from two points of known distance.

    The aspect of the pixels is kept if the file states it, and is 1 otherwise: with aspect `a` (height by
    width), the width of a pixel is ``distance / hypot(dx, a * dy)`` and its height `a` times that. Two points
    cannot determine both.

    Parameters
    ----------
    cine : Cine
    points : (Point, Point)
        (column, row) in pixels.
    distance_mm : float
    region : int, optional
        Index of the region in `cine.regions`; default the whole frame.

    Raises
    ------
    CalibrationError
        If a point lies outside the frame, the points are too close, or the distance or the resulting pixel
        size is not plausible.
    """
    (x0, y0), (x1, y1) = points
    if not all(math.isfinite(value) for value in (x0, y0, x1, y1)) or not all(
        -0.5 <= x <= cine.width - 0.5 and -0.5 <= y <= cine.height - 0.5 for x, y in points
    ):
        raise CalibrationError("A point of the calibration lies outside the picture: set it on the picture.")
    if not SHORTEST_MM <= distance_mm <= LONGEST_MM:  # also refuses nan
        raise CalibrationError(
            f"The distance must be between {SHORTEST_MM:.0f} and {LONGEST_MM:.0f} mm: check its unit."
        )
    if math.hypot(x1 - x0, y1 - y0) < SHORTEST_PX:
        raise CalibrationError(
            f"The two points are closer than {SHORTEST_PX:.0f} pixels: choose points that are farther apart."
        )
    aspect = _aspect(cine, region)
    width = distance_mm / math.hypot(x1 - x0, aspect * (y1 - y0))
    height = aspect * width
    if not all(SMALLEST_PIXEL_MM <= size <= LARGEST_PIXEL_MM for size in (width, height)):
        depth = cine.height * height
        raise CalibrationError(
            f"With this distance the picture would be {depth:.0f} mm high, which is not plausible: check the "
            "points and the unit of the distance."
        )
    stated = cine.calibration if region is None else cine.regions[region].calibration
    if stated is not None and not 1 / LARGEST_RATIO <= width / stated.mm_per_px_x <= LARGEST_RATIO:
        raise CalibrationError(
            f"With this distance a pixel would be {width:.3f} mm wide, but the file states "
            f"{stated.mm_per_px_x:.3f} mm: check the points and the unit of the distance."
        )
    return ManualCalibration(points, float(distance_mm), width, height)


def region_to_calibrate(cine: Cine, points: tuple[Point, Point]) -> int | None:
    """Return the region that two points calibrate.

    It is the smallest two-dimensional region around the middle of the points. A depth scale may lie beside
    the image: then it is the region that `cine.region` covers.

    Returns
    -------
    int or None
        Index in `cine.regions`; None for the whole frame, if the file states no suitable region.
    """
    (x0, y0), (x1, y1) = points
    x, y = (x0 + x1) / 2.0, (y0 + y1) / 2.0
    around = [i for i in _images(cine) if cine.regions[i].box.contains(x, y)]
    if around:
        return min(around, key=lambda i: cine.regions[i].box.width * cine.regions[i].box.height)
    return _main_region(cine)


def with_calibrations(cine: Cine, calibrations: Mapping[int | None, ManualCalibration]) -> Cine:
    """Return a cine with calibrations by hand in place of those of the file.

    `calibration_at`, `calibration_of` and `pixel_aspect` of the result follow them.

    Parameters
    ----------
    cine : Cine
    calibrations : mapping of int or None to ManualCalibration
        By index of the region in `cine.regions`; None for the whole frame, which holds wherever no region is
        calibrated. Regions that the file does not have are ignored.
    """
    found = {
        index: Calibration(manual.mm_per_px_x, manual.mm_per_px_y, BY_HAND)
        for index, manual in calibrations.items()
        if index is None or index < len(cine.regions)
    }
    if not found:
        return cine
    regions = tuple(
        replace(region, calibration=found[index]) if index in found else region
        for index, region in enumerate(cine.regions)
    )
    whole = found.get(None)
    main = _main_region(cine)
    calibration = found.get(main, cine.calibration) if main is not None else cine.calibration
    if whole is not None and (calibration is None or not cine.regions):
        calibration = whole
    if whole is not None and regions:
        box = Box(0, 0, cine.width, cine.height)
        regions = (*regions, Region(box, _TWO_D, 0, 0, 0, 0.0, 0.0, whole))
    return replace(cine, calibration=calibration, regions=regions)


def _aspect(cine: Cine, region: int | None) -> float:
    """Height of a pixel divided by its width, as far as the file states it."""
    if region is None or not 0 <= region < len(cine.regions):
        return cine.pixel_aspect
    return replace(cine, calibration=cine.regions[region].calibration).pixel_aspect


def _images(cine: Cine) -> list[int]:
    """Return the two-dimensional regions; none if one leaves the frame, so that the image was resized."""
    found = {i: region.box for i, region in enumerate(cine.regions) if region.spatial_format == _TWO_D}
    fits = all(
        min(box.x0, box.y0) >= 0 and box.x1 <= cine.width + _SLACK_PX and box.y1 <= cine.height + _SLACK_PX
        for box in found.values()
    )
    return list(found) if fits else []


def _main_region(cine: Cine) -> int | None:
    """Return the two-dimensional region that shares most pixels with `cine.region`."""
    shared = {index: _overlap(cine.regions[index].box, cine.region) for index in _images(cine)}
    best = max(shared, key=shared.__getitem__, default=None)
    return best if best is not None and shared[best] > 0 else None


def _overlap(one: Box, other: Box) -> int:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)
