"""Calibration by hand: pixel size from two points, its limits, and its effect on a cine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from app.domain.calibration import (
    BY_HAND,
    CalibrationError,
    calibrate,
    region_to_calibrate,
    with_calibrations,
)
from app.domain.cine import Box, Calibration, Cine, Region
from tests.unit.engine.conftest import HEIGHT, WIDTH, make_cine

VERTICAL = ((40.0, 10.0), (40.0, 70.0))
LEFT, RIGHT = Box(0, 0, 60, HEIGHT), Box(60, 0, WIDTH, HEIGHT)


def region(box: Box, size: Calibration | None = None, spatial_format: int = 1) -> Region:
    return Region(box, spatial_format, 1, 3, 3, 0.0, 0.0, size)


def with_regions(*regions: Region) -> Cine:
    return replace(make_cine(), regions=regions, region=LEFT, calibration=None)


def plain() -> Cine:
    return replace(make_cine(), regions=(), calibration=None)


def test_pixels_are_square_if_the_file_states_no_aspect() -> None:
    found = calibrate(plain(), VERTICAL, 30.0)
    assert (found.mm_per_px_x, found.mm_per_px_y) == (0.5, 0.5)


def test_the_aspect_of_the_file_is_kept() -> None:
    cine = replace(plain(), calibration=Calibration(0.5, 1.0, "file"))
    found = calibrate(cine, ((10.0, 10.0), (40.0, 50.0)), 85.0)
    assert found.mm_per_px_y == pytest.approx(2.0 * found.mm_per_px_x)
    assert math.hypot(30 * found.mm_per_px_x, 40 * found.mm_per_px_y) == pytest.approx(85.0)


def test_a_size_that_contradicts_the_file_is_refused() -> None:
    cine = replace(plain(), calibration=Calibration(0.25, 0.25, "file"))
    with pytest.raises(CalibrationError, match=r"the file states 0\.250 mm"):
        calibrate(cine, VERTICAL, 60.0)
    assert calibrate(cine, ((10.0, 10.0), (10.0, 50.0)), 25.0).mm_per_px_x == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("points", "distance", "words"),
    [
        (VERTICAL, 0.5, "between 1 and 400 mm"),
        (VERTICAL, 401.0, "between 1 and 400 mm"),
        (VERTICAL, math.nan, "between 1 and 400 mm"),
        (((40.0, 10.0), (40.0, 29.0)), 30.0, "closer than 20 pixels"),
        (((40.0, 10.0), (40.0, 10.0)), 30.0, "closer than 20 pixels"),
        (((40.0, -5.0), (40.0, 70.0)), 30.0, "outside the picture"),
        (((math.nan, 5.0), (40.0, 70.0)), 30.0, "outside the picture"),
        (VERTICAL, 1.0, "not plausible"),
        (VERTICAL, 400.0, "not plausible"),
    ],
)
def test_implausible_calibrations_are_refused_in_one_sentence(
    points: tuple[tuple[float, float], tuple[float, float]], distance: float, words: str
) -> None:
    with pytest.raises(CalibrationError, match=words) as error:
        calibrate(plain(), points, distance)
    assert str(error.value).count(".") == 1


def test_a_calibration_replaces_that_of_the_file_on_its_region_only() -> None:
    file = Calibration(1.0, 1.0, "file")
    cine = replace(with_regions(region(LEFT, file), region(RIGHT, file)), calibration=file)
    manual = calibrate(cine, VERTICAL, 30.0, region_to_calibrate(cine, VERTICAL))
    measured = with_calibrations(cine, {0: manual})
    assert measured.calibration == measured.calibration_at(10, 10) == Calibration(0.5, 0.5, BY_HAND)
    assert measured.calibration_at(100, 10) == file
    assert with_calibrations(cine, {1: manual}).calibration == file
    assert with_calibrations(cine, {}) is cine
    assert with_calibrations(cine, {7: manual}) is cine  # a region that the file does not have


def test_a_depth_scale_beside_the_image_calibrates_the_image() -> None:
    cine = with_regions(region(Box(60, 0, WIDTH, HEIGHT), spatial_format=3), region(LEFT))
    assert region_to_calibrate(cine, ((110.0, 5.0), (110.0, 80.0))) == 1
    assert region_to_calibrate(plain(), VERTICAL) is None


def test_regions_that_leave_the_frame_are_not_used() -> None:
    cine = with_regions(region(Box(0, 0, 2 * WIDTH, 2 * HEIGHT)))
    assert region_to_calibrate(cine, VERTICAL) is None
    measured = with_calibrations(cine, {None: calibrate(cine, VERTICAL, 30.0)})
    assert measured.calibration_of(np.ones((HEIGHT, WIDTH), bool)) == Calibration(0.5, 0.5, BY_HAND)
    assert measured.calibration == Calibration(0.5, 0.5, BY_HAND)


def test_a_calibration_of_the_whole_frame_holds_for_the_whole_frame() -> None:
    cine = plain()
    measured = with_calibrations(cine, {None: calibrate(cine, VERTICAL, 30.0)})
    assert measured.calibration_at(WIDTH - 1, HEIGHT - 1) == Calibration(0.5, 0.5, BY_HAND)
    assert measured.pixel_aspect == 1.0
