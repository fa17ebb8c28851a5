"""Pixel size and ultrasound region from SequenceOfUltrasoundRegions.

Region Calibration Module, PS3.3 C.8.5.5. PixelSpacing is never used: in ultrasound files it is often absent
or copied from another image.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset

from app.domain.cine import Box, Calibration, Region
from app.readers.tags import number, value_of

SOURCE = "SequenceOfUltrasoundRegions"
TWO_D = 1
TISSUE = 1
COLOUR_FLOW = 2
CENTIMETRES = 3
_SLACK = 2
"""Pixels by which a region may extend beyond the image: some files state width as the last column."""
_SMALLEST = 16
"""Smallest width and height of a region that can show a heart, pixels."""
_MM_RANGE = (0.002, 20.0)
_FIELDS = {
    "x0": "RegionLocationMinX0",
    "y0": "RegionLocationMinY0",
    "x1": "RegionLocationMaxX1",
    "y1": "RegionLocationMaxY1",
    "format": "RegionSpatialFormat",
    "type": "RegionDataType",
}


@dataclass(frozen=True)
class RegionCalibration:
    """Regions and pixel size that can be used.

    Attributes
    ----------
    regions : tuple of Region
        All complete regions of the file.
    box : Box or None
        The region that is used; None if no region is plausible.
    calibration : Calibration or None
        Pixel size in that region; None if it is not plausible.
    warnings : list of str
    """

    regions: tuple[Region, ...] = ()
    box: Box | None = None
    calibration: Calibration | None = None
    warnings: list[str] = field(default_factory=list)


def calibrate(ds: Dataset, height: int, width: int) -> RegionCalibration:
    """Choose the tissue region and read its pixel size.

    Parameters
    ----------
    ds : Dataset
    height, width : int
        Rows and Columns, pixels.

    Returns
    -------
    RegionCalibration
        Pixel sizes in mm are always positive: the sign of a delta only states a direction.
    """
    regions, warnings = _regions(ds)
    # Some manufacturers describe the whole image of a colour flow cine as one colour region.
    candidates = [r for r in regions if _is_image(r) and r.data_type == TISSUE] or [
        r for r in regions if _is_image(r)
    ]
    if not candidates:
        warnings.append("The file does not state the pixel size: sizes are given in pixels.")
        return RegionCalibration(regions, None, None, warnings)
    candidates = [r for r in candidates if min(r.box.width, r.box.height) >= _SMALLEST]
    # A region beyond the edge shows that the image was resized: then no pixel size is valid.
    if not candidates or any(not _is_inside(r.box, height, width) for r in candidates):
        warnings.append(
            "The calibrated region in the file does not fit the image, which was resized or cropped later, "
            "so its pixel size is not used: sizes are given in pixels."
        )
        return RegionCalibration(regions, None, None, warnings)
    regions = tuple(
        replace(r, calibration=_calibration(r)) if _is_image(r) and _is_inside(r.box, height, width) else r
        for r in regions
    )
    region = max(candidates, key=lambda r: r.box.width * r.box.height)
    if len(candidates) > 1:
        warnings.append("The image contains several ultrasound regions: the largest one is used.")
    calibration = _calibration(region)
    if calibration is None:
        warnings.append("The pixel size in the file is not a plausible length: sizes are given in pixels.")
    return RegionCalibration(regions, _clip(region.box, height, width), calibration, warnings)


def _is_image(region: Region) -> bool:
    return region.spatial_format == TWO_D and region.data_type in (TISSUE, COLOUR_FLOW)


def _regions(ds: Dataset) -> tuple[tuple[Region, ...], list[str]]:
    found = []
    items = value_of(ds, SOURCE) or []
    for item in items:
        values = {name: number(item, keyword) for name, keyword in _FIELDS.items()}
        if any(v is None for v in values.values()):
            continue
        integers = {name: int(v) for name, v in values.items() if v is not None}
        found.append(
            Region(
                # The tags state the last pixel; a Box ends after it.
                box=Box(integers["x0"], integers["y0"], integers["x1"] + 1, integers["y1"] + 1),
                spatial_format=integers["format"],
                data_type=integers["type"],
                units_x=int(number(item, "PhysicalUnitsXDirection") or 0),
                units_y=int(number(item, "PhysicalUnitsYDirection") or 0),
                delta_x=number(item, "PhysicalDeltaX") or 0.0,
                delta_y=number(item, "PhysicalDeltaY") or 0.0,
            )
        )
    dropped = len(items) - len(found)
    return tuple(found), [f"{dropped} of {len(items)} regions in the file are incomplete."] if dropped else []


def _is_inside(box: Box, height: int, width: int) -> bool:
    return 0 <= box.x0 < box.x1 <= width + _SLACK and 0 <= box.y0 < box.y1 <= height + _SLACK


def _clip(box: Box, height: int, width: int) -> Box:
    return Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))


def _calibration(region: Region) -> Calibration | None:
    if (region.units_x, region.units_y) != (CENTIMETRES, CENTIMETRES):
        return None
    x, y = abs(region.delta_x) * 10.0, abs(region.delta_y) * 10.0
    low, high = _MM_RANGE
    return Calibration(x, y, SOURCE) if low <= x <= high and low <= y <= high else None
