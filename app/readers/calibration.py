"""SequenceOfUltrasoundRegions: size of a pixel and place of the picture, with the tags' known traps.

Region Calibration Module, PS3.3 C.8.5.5. PixelSpacing is never used: in ultrasound it is often
absent, or left from another image.
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
"""Pixels a region may reach beyond the image: some files count the last column as width, not width-1."""
_SMALLEST = 16
"""Pixels: a smaller box cannot be the picture of a heart."""
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
class Calibrated:
    """What the region tags are good for.

    `box` and `calibration`, of the region that is shown, are None where they are not plausible.
    """

    regions: tuple[Region, ...] = ()
    box: Box | None = None
    calibration: Calibration | None = None
    warnings: list[str] = field(default_factory=list)


def calibrate(ds: Dataset, height: int, width: int) -> Calibrated:
    """Choose the tissue region and its pixel size.

    Parameters
    ----------
    ds : Dataset
    height, width : int
        Rows and Columns, pixels.

    Returns
    -------
    Calibrated
        Pixel sizes in mm, always positive (a negative delta only states a direction).
    """
    regions, warnings = _regions(ds)
    # Colour flow loops of some makers describe the whole picture as one colour region.
    pictures = [r for r in regions if _is_picture(r) and r.data_type == TISSUE] or [
        r for r in regions if _is_picture(r)
    ]
    if not pictures:
        warnings.append("The file does not say the size of a pixel: sizes are given in pixels.")
        return Calibrated(regions, None, None, warnings)
    pictures = [r for r in pictures if min(r.box.width, r.box.height) >= _SMALLEST]
    # One region beyond the edge shows that the image was resized: then no region's size holds.
    if not pictures or any(not _inside(r.box, height, width) for r in pictures):
        warnings.append(
            "The calibrated region in the file does not fit the image, which was resized or cropped later: "
            "its pixel size was not used: sizes are given in pixels."
        )
        return Calibrated(regions, None, None, warnings)
    regions = tuple(
        replace(r, calibration=_calibration(r)) if _is_picture(r) and _inside(r.box, height, width) else r
        for r in regions
    )
    region = max(pictures, key=lambda r: r.box.width * r.box.height)
    if len(pictures) > 1:
        warnings.append("The image holds several ultrasound pictures: the largest one is used.")
    calibration = _calibration(region)
    if calibration is None:
        warnings.append("The pixel size in the file is not a plausible length: sizes are given in pixels.")
    return Calibrated(regions, _clip(region.box, height, width), calibration, warnings)


def _is_picture(region: Region) -> bool:
    return region.spatial_format == TWO_D and region.data_type in (TISSUE, COLOUR_FLOW)


def _regions(ds: Dataset) -> tuple[tuple[Region, ...], list[str]]:
    found = []
    items = value_of(ds, SOURCE) or []
    for item in items:
        values = {name: number(item, keyword) for name, keyword in _FIELDS.items()}
        if any(v is None for v in values.values()):
            continue
        at = {name: int(v) for name, v in values.items() if v is not None}
        found.append(
            Region(
                # The tags name the last pixel; a Box ends after it.
                box=Box(at["x0"], at["y0"], at["x1"] + 1, at["y1"] + 1),
                spatial_format=at["format"],
                data_type=at["type"],
                units_x=int(number(item, "PhysicalUnitsXDirection") or 0),
                units_y=int(number(item, "PhysicalUnitsYDirection") or 0),
                delta_x=number(item, "PhysicalDeltaX") or 0.0,
                delta_y=number(item, "PhysicalDeltaY") or 0.0,
            )
        )
    dropped = len(items) - len(found)
    return tuple(found), [f"{dropped} of {len(items)} regions in the file are incomplete."] if dropped else []


def _inside(box: Box, height: int, width: int) -> bool:
    """True where the region, of whatever size, lies in the image."""
    return 0 <= box.x0 < box.x1 <= width + _SLACK and 0 <= box.y0 < box.y1 <= height + _SLACK


def _clip(box: Box, height: int, width: int) -> Box:
    return Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))


def _calibration(region: Region) -> Calibration | None:
    if (region.units_x, region.units_y) != (CENTIMETRES, CENTIMETRES):
        return None
    x, y = abs(region.delta_x) * 10.0, abs(region.delta_y) * 10.0
    low, high = _MM_RANGE
    return Calibration(x, y, SOURCE) if low <= x <= high and low <= y <= high else None
