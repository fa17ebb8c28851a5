"""Frame times from all sources; implausible values are ignored with a warning."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from app.domain.cine import Cine
from app.readers.open import open_cine
from app.readers.timing import container_timing, is_plausible
from tests.unit.readers.dicom_oracle import grey_cine, luma, rgb_frames

GREY = np.rint(luma(rgb_frames(9))).astype(np.uint8)
NO_TIME: dict[str, Any] = {"FrameTime": None, "FrameIncrementPointer": None}
VECTOR = {"FrameIncrementPointer": 0x00181065}


def is_assumed_with_warning(cine: Cine) -> bool:
    output = [w for w in cine.warnings if "30 frames per second are assumed" in w]
    return cine.timing.source == "assumed" and cine.timing.fps == pytest.approx(30) and len(output) == 1


@pytest.mark.parametrize("step", [0.0333, 0.5, 1.0, 1000.0, 33_333.0, 1e300, float("nan")])
def test_frame_time_in_other_units_is_ignored(tmp_path: Path, step: float) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", FrameTime=step if step == step else "nan", CineRate=25))
    assert cine.timing.source == "CineRate"
    assert cine.timing.fps == pytest.approx(25)
    assert any("FrameTime" in w for w in cine.warnings)


@pytest.mark.parametrize(
    "tags", [{"CineRate": 90000}, {"RecommendedDisplayFrameRate": 1000}, {"CineRate": 1}]
)
def test_impossible_rates_are_ignored(tmp_path: Path, tags: dict[str, int]) -> None:
    assert is_assumed_with_warning(open_cine(grey_cine(tmp_path / "a.dcm", **NO_TIME, **tags)))


@pytest.mark.parametrize(
    "steps", [[0, *[0.04] * 5], [0, *[40_000] * 5], [0, 40, 40, 20_000, 40, 40], [0] * 5000, [40]]
)
def test_impossible_vectors_are_ignored(tmp_path: Path, steps: list[float]) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", FrameTime=None, FrameTimeVector=steps, **VECTOR))
    assert is_assumed_with_warning(cine)
    assert any("FrameTimeVector" in w for w in cine.warnings)


def test_a_pause_in_a_vector_is_accepted(tmp_path: Path) -> None:
    steps = [0, 40, 40, 1500, 40, 40]
    cine = open_cine(grey_cine(tmp_path / "a.dcm", FrameTime=None, FrameTimeVector=steps, **VECTOR))
    assert cine.timing.times_ms.tolist() == np.cumsum(steps).tolist()


def test_a_vector_for_the_existing_frames_is_accepted(tmp_path: Path) -> None:
    tags: dict[str, Any] = {
        "FrameTime": None,
        "FrameTimeVector": [0, 40, 40, 40, 40, 40],
        "NumberOfFrames": 3,
        **VECTOR,
    }
    cine = open_cine(grey_cine(tmp_path / "a.dcm", **tags))
    assert (cine.n_frames, cine.timing.source) == (6, "FrameTimeVector")


def test_acquisition_rate_takes_precedence_over_display_rate(tmp_path: Path) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", **NO_TIME, RecommendedDisplayFrameRate=30, CineRate=60))
    assert (cine.timing.source, cine.timing.fps) == ("CineRate", pytest.approx(60))


@pytest.mark.parametrize("fps", [0.0, -1.0, 1000.0, 90000.0, float("nan"), float("inf"), 0.5])
def test_rates_of_containers(fps: float) -> None:
    timing, notes = container_timing(5, [], fps)
    assert (timing.source, timing.fps) == ("assumed", pytest.approx(30))
    assert len(notes) == 1
    # Plausible time stamps take precedence over any stated rate.
    timing, notes = container_timing(5, [100.0, 140.0, 180.0, 220.0, 260.0], fps)
    assert (timing.source, timing.fps, notes) == ("container", pytest.approx(25), [])
    assert timing.times_ms[0] == 0


@pytest.mark.parametrize(
    "times",
    [[0.0] * 5, [0, 1, 2, 3, 4], [0, 5e3, 1e4, 2e4, 3e4], [0, 40, 20, 60, 80], [0, float("nan"), 2, 3, 4]],
)
def test_the_stated_rate_replaces_impossible_time_stamps(times: list[float]) -> None:
    assert container_timing(5, times, 25.0)[0].fps == pytest.approx(25)
    assert container_timing(5, times, 0.0)[0].source == "assumed"


def test_plausible_steps() -> None:
    assert is_plausible([2.0])
    assert is_plausible([999.0])
    assert not is_plausible([])
    assert not is_plausible([1000.0])
    assert not is_plausible([1.0])
    assert not is_plausible([40.0, 0.0])


@pytest.mark.parametrize("rate", [90_000, 1_000])
def test_an_avi_with_an_impossible_rate(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (128, 96))
    for frame in GREY:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 20  # dwScale, dwRate
    data[at : at + 8] = struct.pack("<LL", 1, rate)
    path.write_bytes(bytes(data))
    cine = open_cine(path)
    assert cine.n_frames == 9
    assert is_assumed_with_warning(cine)


def test_a_gif_without_durations_has_an_assumed_rate(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame) for frame in GREY]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=0)
    assert is_assumed_with_warning(open_cine(tmp_path / "a.gif"))


@pytest.mark.parametrize(
    ("shape", "zooms", "unit", "believed"),
    [
        ("3D", (0.3, 0.3, 1.0), "sec", False),  # ITK's default
        ("3D", (0.3, 0.3, 0.3), "sec", False),  # isotropic voxels
        ("3D", (0.3, 0.3, 0.5), "sec", False),  # slices half a millimetre thick
        ("3D", (0.3, 0.3, 1.0), "msec", False),
        ("3D", (0.3, 0.3, 33.0), None, False),
        ("3D", (0.3, 0.3, 0.04), "sec", True),
        ("3D", (0.3, 0.3, 40.0), "msec", True),
        ("4D", (0.3, 0.3, 1.0, 1.0), "sec", False),
        ("4D", (0.3, 0.3, 1.0, 40.0), "sec", False),
        ("4D", (0.3, 0.3, 1.0, 0.04), "sec", True),
        ("4D", (0.3, 0.3, 1.0, 40.0), "msec", True),
        ("4D", (0.3, 0.3, 1.0, 0.04), None, False),
    ],
)
def test_nifti(
    tmp_path: Path, shape: str, zooms: tuple[float, ...], unit: str | None, believed: bool
) -> None:
    stack = GREY.transpose(2, 1, 0)
    image = nibabel.Nifti1Image(stack if shape == "3D" else stack[:, :, None], np.eye(4))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    cine = open_cine(tmp_path / "a.nii.gz")
    if believed:
        assert (cine.timing.source, cine.timing.fps) == ("container", pytest.approx(25))
    else:
        assert is_assumed_with_warning(cine)


def test_nifti_with_invalid_units(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(GREY.transpose(2, 1, 0), np.eye(4))
    image.header["xyzt_units"] = 7
    nibabel.save(image, tmp_path / "a.nii")
    cine = open_cine(tmp_path / "a.nii")
    assert is_assumed_with_warning(cine)
    assert cine.calibration is None


def test_r_waves_are_read_in_order_without_repetition(tmp_path: Path) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", RWaveTimeVector=[900.5, 12.0, 900.5], HeartRate=0))
    assert cine.r_waves_ms == (12.0, 900.5)


@pytest.mark.parametrize("values", [[], [float("nan"), float("inf")], [float(n) for n in range(2000)]])
def test_a_file_without_usable_r_waves_has_none(tmp_path: Path, values: list[float]) -> None:
    cine = open_cine(grey_cine(tmp_path / "a.dcm", RWaveTimeVector=values, HeartRate=72))
    assert cine.r_waves_ms == ()


def test_damaged_r_waves_do_not_prevent_opening(tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm", RWaveTimeVector=[100.0, 900.0])
    data = path.read_bytes()
    at = data.index(struct.pack("<HH2sH", 0x0018, 0x6060, b"FL", 8))
    path.write_bytes(data[: at + 6] + struct.pack("<H", 7) + data[at + 8 : at + 15] + data[at + 16 :])
    assert open_cine(path).r_waves_ms == ()
