"""Timing, calibration, region and view from DICOM attributes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.sequence import Sequence

from app.domain.cine import Box, Calibration, Cine, TimingSource
from app.readers.open import open_cine
from app.readers.region import find_region
from app.readers.view import view_in_text
from tests.unit.readers.dicom_oracle import grey_cine, region

FT, FTV = 0x00181063, 0x00181065
NO_TIME: dict[str, Any] = {"FrameTime": None, "FrameIncrementPointer": None}


def cine_with(tmp_path: Path, **tags: Any) -> Cine:
    return open_cine(grey_cine(tmp_path / "a.dcm", **tags))


@pytest.mark.parametrize(
    ("tags", "source", "times"),
    [
        ({}, "FrameTime", [0, 40, 80, 120, 160, 200]),
        ({"FrameIncrementPointer": None}, "FrameTime", [0, 40, 80, 120, 160, 200]),
        (
            {"FrameIncrementPointer": FTV, "FrameTimeVector": [0, 10, 20, 30, 10, 20]},
            "FrameTimeVector",
            [0, 10, 30, 60, 70, 90],
        ),
        ({"FrameTimeVector": [0, 10, 20, 30, 10, 20]}, "FrameTime", [0, 40, 80, 120, 160, 200]),
        (
            {**NO_TIME, "FrameTimeVector": [33, 10, 20, 30, 10, 20]},
            "FrameTimeVector",
            [0, 10, 30, 60, 70, 90],
        ),
        ({**NO_TIME, "RecommendedDisplayFrameRate": 50, "CineRate": 20}, "CineRate", None),
        ({**NO_TIME, "RecommendedDisplayFrameRate": 50}, "RecommendedDisplayFrameRate", None),
        ({**NO_TIME, "CineRate": 20}, "CineRate", [0, 50, 100, 150, 200, 250]),
        (NO_TIME, "assumed", None),
    ],
)
def test_frame_times_follow_from_the_tags(
    tmp_path: Path, tags: dict[str, Any], source: str, times: list[float] | None
) -> None:
    timing = cine_with(tmp_path, **tags).timing
    assert timing.source == source
    if times is not None:
        assert timing.times_ms.tolist() == times


@pytest.mark.parametrize(
    ("tags", "source", "word"),
    [
        ({"FrameTime": 0}, "assumed", "FrameTime"),
        ({"FrameTime": -33}, "assumed", "FrameTime"),
        ({"FrameTime": 1e9, "CineRate": 25}, "CineRate", "FrameTime"),
        ({"FrameIncrementPointer": FTV, "FrameTimeVector": [0, 10, 20]}, "FrameTime", "FrameTimeVector"),
        (
            {"FrameIncrementPointer": FTV, "FrameTimeVector": [0, 10, -5, 9, 9, 9]},
            "FrameTime",
            "FrameTimeVector",
        ),
        ({"FrameIncrementPointer": FTV, "FrameTimeVector": [0] * 6}, "FrameTime", "FrameTimeVector"),
        ({**NO_TIME, "RecommendedDisplayFrameRate": 0}, "assumed", "RecommendedDisplay"),
        (
            {**NO_TIME, "RecommendedDisplayFrameRate": 25, "CineRate": 0},
            "RecommendedDisplayFrameRate",
            "CineRate",
        ),
        ({**NO_TIME, "CineRate": -1}, "assumed", "CineRate"),
    ],
)
def test_implausible_timing_is_ignored(tmp_path: Path, tags: dict[str, Any], source: str, word: str) -> None:
    cine = cine_with(tmp_path, **tags)
    assert cine.timing.source == source
    assert any(word in w for w in cine.warnings)
    assert np.all(np.diff(cine.timing.times_ms) > 0)
    if source == "assumed":
        assert cine.timing.fps == pytest.approx(30)
        assert any("assumed" in w for w in cine.warnings)


def test_a_still_has_no_rate(tmp_path: Path) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", 1, FrameTime=None, FrameIncrementPointer=None))
    assert (cine.timing.fps, cine.timing.times_ms.tolist()) == (0.0, [0.0])
    assert cine.timing.source is TimingSource.ASSUMED
    assert not any("frame rate" in w for w in cine.warnings)


def regions(tmp_path: Path, *items: Any, **tags: Any) -> Cine:
    return cine_with(tmp_path, SequenceOfUltrasoundRegions=Sequence(items), **tags)


def test_the_tissue_region_is_chosen(tmp_path: Path) -> None:
    cine = regions(
        tmp_path,
        region(0, 0, 127, 95, 1.0, RegionSpatialFormat=0, RegionDataType=0, PhysicalUnitsXDirection=0),
        region(10, 70, 60, 95, 0.01, RegionSpatialFormat=4, RegionDataType=10, PhysicalUnitsXDirection=4),
        region(20, 10, 109, 85, 0.05),
    )
    assert cine.region == Box(20, 10, 110, 86)
    assert cine.region_source == "SequenceOfUltrasoundRegions"
    assert cine.calibration == Calibration(0.5, 0.5, "SequenceOfUltrasoundRegions")
    assert len(cine.regions) == 3


def test_a_negative_delta_only_states_a_direction(tmp_path: Path) -> None:
    item = region(20, 10, 109, 85, PhysicalDeltaX=-0.05, PhysicalDeltaY=0.04)
    assert regions(tmp_path, item).calibration == Calibration(0.5, 0.4, "SequenceOfUltrasoundRegions")


def test_a_region_one_pixel_too_large_is_clipped(tmp_path: Path) -> None:
    cine = regions(tmp_path, region(20, 10, 128, 96))
    assert cine.region == Box(20, 10, 128, 96)
    assert cine.calibration is not None


def test_a_region_larger_than_the_image_is_ignored(tmp_path: Path) -> None:
    cine = regions(tmp_path, region(40, 20, 219, 171))
    assert cine.calibration is None
    assert cine.region_source == "found from motion"
    assert any("resized" in w for w in cine.warnings)
    assert len(cine.regions) == 1


@pytest.mark.parametrize(
    "tags", [{"PhysicalUnitsXDirection": 4}, {"PhysicalDeltaX": 0.0}, {"PhysicalDeltaY": 55.0}]
)
def test_no_calibration_from_other_units_or_implausible_sizes(tmp_path: Path, tags: dict[str, Any]) -> None:
    cine = regions(tmp_path, region(20, 10, 109, 85, **tags))
    assert cine.calibration is None
    assert cine.region == Box(20, 10, 110, 86)
    assert any("in pixels" in w for w in cine.warnings)


def test_each_region_has_its_own_pixel_size(tmp_path: Path) -> None:
    cine = regions(tmp_path, region(0, 0, 79, 95, 0.05), region(84, 0, 127, 95, 0.02))
    left, right = cine.calibration_at(40, 50), cine.calibration_at(84, 0)
    assert left is not None
    assert right is not None
    assert (left.mm_per_px_x, right.mm_per_px_x) == pytest.approx((0.5, 0.2))
    assert cine.calibration == left  # the larger region is the one shown
    assert cine.calibration_at(81, 50) is None  # between the two
    assert cine.calibration_at(-1, 50) is None
    mask = np.zeros((96, 128), bool)
    assert cine.calibration_of(mask) is None
    mask[20:60, 90:120] = True
    assert cine.calibration_of(mask) == right
    mask[20:60, 20:40] = True
    assert cine.calibration_of(mask) is None  # in both regions
    mask[:, :84] = False
    mask[20:60, 80:84] = True
    assert cine.calibration_of(mask) is None  # partly outside


def test_an_inset_has_its_own_pixel_size(tmp_path: Path) -> None:
    cine = regions(tmp_path, region(0, 0, 127, 95, 0.05), region(90, 10, 119, 49, 0.02))
    inset = cine.calibration_at(100, 20)
    assert inset is not None
    assert inset.mm_per_px_x == pytest.approx(0.2)
    assert cine.calibration_at(10, 20) == cine.calibration


def test_m_mode_and_other_units_give_no_millimetres(tmp_path: Path) -> None:
    m_mode = region(70, 0, 127, 95, 0.05, RegionSpatialFormat=2, PhysicalUnitsXDirection=4)
    cine = regions(tmp_path, region(0, 0, 65, 95, 0.05), m_mode)
    assert cine.calibration_at(30, 30) is not None
    assert cine.calibration_at(100, 30) is None


def test_a_region_beyond_the_image_invalidates_all_pixel_sizes(tmp_path: Path) -> None:
    """The image was halved later: the left of two regions still fits, but its pixel size is wrong."""
    cine = regions(tmp_path, region(0, 0, 119, 90), region(120, 0, 239, 90))
    assert cine.calibration is None
    assert cine.calibration_at(50, 50) is None
    assert any("resized" in w for w in cine.warnings)


def test_a_file_without_regions_has_one_pixel_size_everywhere(tmp_path: Path) -> None:
    cine = cine_with(tmp_path)
    assert cine.calibration_at(5, 5) is None
    scaled = dataclasses.replace(cine, calibration=Calibration(0.3, 0.4, "NIfTI pixdim"))
    assert (
        scaled.calibration_at(5, 5) == scaled.calibration_of(np.ones((96, 128), bool)) == scaled.calibration
    )
    assert scaled.calibration_at(128, 5) is None


def test_pixel_spacing_is_never_used(tmp_path: Path) -> None:
    cine = cine_with(tmp_path, PixelSpacing=[0.3, 0.3])
    assert cine.calibration is None


def test_an_incomplete_region_is_ignored(tmp_path: Path) -> None:
    item = region(20, 10, 109, 85)
    del item.RegionLocationMaxX1
    cine = regions(tmp_path, item)
    assert cine.regions == ()
    assert any("incomplete" in w for w in cine.warnings)


def test_a_colour_flow_region_means_colour_doppler(tmp_path: Path) -> None:
    cine = regions(tmp_path, region(20, 10, 109, 85, RegionDataType=2))
    assert cine.colour_doppler
    assert cine.calibration is not None


def test_the_demo_cine_is_read_without_its_invalid_calibration(demo_cine_path: Path) -> None:
    """Halved after calibration: its region tag, 84..595 x 31..414, fits 640x480 and not 320x240."""
    cine = open_cine(demo_cine_path)
    assert (cine.n_frames, cine.height, cine.width) == (30, 240, 320)
    assert cine.timing.fps == pytest.approx(30, abs=0.01)
    assert cine.timing.source is TimingSource.FRAME_TIME
    assert cine.calibration is None
    assert cine.region_source == "found from motion"
    true = np.array([42, 15, 298, 208])
    assert (
        np.abs(np.array([cine.region.x0, cine.region.y0, cine.region.x1, cine.region.y1]) - true).max() <= 12
    )
    assert not cine.colour_doppler
    assert cine.content_hash == open_cine(str(demo_cine_path)).content_hash


def test_region_from_motion_excludes_text_and_trace() -> None:
    rng = np.random.default_rng(0)
    frames = np.zeros((6, 240, 320), np.uint8)
    frames[:, 40:200, 80:260] = rng.integers(40, 90, (6, 160, 180))
    frames[:, 5:15, 5:80] = 255  # a name
    for i, frame in enumerate(frames):
        frame[225:227, 20 : 60 + 30 * i] = 200  # an ECG
    box, how = find_region(list(frames))
    assert how == "found from motion"
    assert np.abs(np.array([box.x0 - 80, box.y0 - 40, box.x1 - 260, box.y1 - 200])).max() <= 8


def test_region_of_a_still_and_of_an_empty_image() -> None:
    still = np.zeros((240, 320), np.uint8)
    still[40:200, 80:260] = 60
    box, how = find_region([still])
    assert how == "found from shape"
    assert abs(box.x0 - 80) <= 8
    assert find_region([np.zeros((24, 32), np.uint8)]) == (Box(0, 0, 32, 24), "whole image")


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("Apical four chamber", "A4C"),
        ("apical 4-chamber view", "A4C"),
        ("4CH", "A4C"),
        ("A2C", "A2C"),
        ("2CH", "A2C"),
        ("APLAX", "A3C"),
        ("PS LAX MR & AI", "PLAX"),
        ("PSAX mitral", "PSAX-MV"),
        ("A4C and A2C", None),
        ("US KIDNEY", None),
        ("MURMUR, R/O VSD", None),
        ("", None),
    ],
)
def test_the_view_is_read_from_descriptions(words: str, view: str | None) -> None:
    assert view_in_text(words) == view


def test_a_relative_path_is_still_valid_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey_cine(tmp_path / "a.dcm")
    monkeypatch.chdir(tmp_path)
    cine = open_cine("a.dcm")
    monkeypatch.chdir("/")
    assert cine.frame(5).shape == (96, 128)


def test_only_a_few_frames_are_decoded_to_open_a_cine(demo_cine_path: Path) -> None:
    cine = open_cine(demo_cine_path)
    assert cine.source.is_decoded(0)
    assert sum(cine.source.is_decoded(i) for i in range(30)) <= 8
