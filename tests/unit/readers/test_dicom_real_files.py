"""Expected values for all files in dicom/, read manually from a dump of their headers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import apply_color_lut, pixel_array

from app.domain.errors import CineError
from app.readers.describe import describe
from app.readers.open import open_cine

pytestmark = pytest.mark.data
REGIONS = "SequenceOfUltrasoundRegions"
MOTION, SHAPE, WHOLE = "found from motion", "found from shape", "whole image"


class Facts(NamedTuple):
    """mm is (x, y); box (x0, y0, x1, y1) half-open; None if it is not in the tags."""

    frames: int
    rows: int
    columns: int
    fps: float | None
    timing: str | None
    mm: tuple[float, float] | None
    box: tuple[int, int, int, int] | None
    region_source: str
    photometric: str
    colour: bool = False
    view: str | None = None
    burned_in: str | None = None


# fps of a FrameTimeVector is (frames - 1) * 1000 / (sum of the vector without its first value).
PHILIPS_BOX = (120, 60, 800, 519)  # the tag states 800, beyond the last column 799
TABLE = {
    "GREYSCALE_IMAGE": Facts(
        1,
        768,
        1024,
        None,
        None,
        (0.0649047, 0.0649047),
        (14, 38, 1011, 759),
        REGIONS,
        "MONOCHROME2",
        burned_in="YES",
    ),
    "RGB_IMAGE": Facts(1, 768, 1024, None, None, (0.2378717, 0.2378717), (0, 60, 1009, 765), REGIONS, "RGB"),
    "dcm4che__YBR_422": Facts(
        1,
        555,
        800,
        None,
        None,
        (0.0616, 0.0616),
        (184, 75, 800, 555),
        REGIONS,
        "YBR_FULL_422",
        burned_in="NO",
    ),
    "dcm4che__YBR_FULL-RLE": Facts(  # the first region is the whole screen, without units
        1, 480, 640, None, None, (0.0953679, 0.0953679), (84, 48, 484, 416), REGIONS, "YBR_FULL"
    ),
    "dcm4che__jpeg-ls-Palette": Facts(
        10, 430, 600, 1000 / 76, "FrameTime", None, None, MOTION, "PALETTE COLOR", colour=True, view="PLAX"
    ),
    "fo-dicom__DIRW0007": Facts(  # negative delta; vector sums to 2471.651 with a first value of 33.333
        65,
        456,
        576,
        64e3 / 2438.318,
        "FrameTimeVector",
        (0.5247813, 0.5247813),
        (27, 48, 549, 392),
        REGIONS,
        "YBR_FULL_422",
    ),
    "fo-dicom__GH364": Facts(1, 768, 1024, None, None, None, None, SHAPE, "MONOCHROME2", burned_in="YES"),
    "mglev1n-echocv__Image-20": Facts(
        72,
        600,
        800,
        71e3 / 2366.539,
        "FrameTimeVector",
        (0.3305421, 0.3305421),
        PHILIPS_BOX,
        REGIONS,
        "YBR_FULL_422",
        burned_in="NO",
    ),
    "mglev1n-echocv__Image-41": Facts(
        75,
        600,
        800,
        74e3 / 2449.998,
        "FrameTimeVector",
        (0.4407228, 0.4407228),
        PHILIPS_BOX,
        REGIONS,
        "YBR_FULL_422",
        burned_in="NO",
    ),
    "mglev1n-echocv__Image-43": Facts(
        73,
        600,
        800,
        72e3 / 2396.348,
        "FrameTimeVector",
        (0.4407228, 0.4407228),
        PHILIPS_BOX,
        REGIONS,
        "YBR_FULL_422",
        burned_in="NO",
    ),
    "orthanc-tests__Implicit-vr-us-palette": Facts(
        1, 600, 800, None, None, (0.1650963, 0.1650963), PHILIPS_BOX, REGIONS, "PALETTE COLOR"
    ),
    "orthanc-tests__Issue16": Facts(  # pixels are not square
        34,
        430,
        480,
        1000 / 30,
        "FrameTime",
        (0.2857143, 0.2285714),
        (42, 4, 439, 354),
        REGIONS,
        "YBR_FULL_422",
    ),
    "orthanc-tests__Issue164": Facts(
        87,
        743,
        975,
        1000 / 34.992733,
        "FrameTime",
        (0.2593857, 0.2593857),
        (1, 74, 960, 743),
        REGIONS,
        "YBR_FULL_422",
    ),
    "orthanc-tests__RLEPlanarConfigurationYBR_FULL": Facts(  # the tag states row 910 of 910
        1,
        910,
        1260,
        None,
        None,
        (0.1451170, 0.1451170),
        (0, 120, 1101, 910),
        REGIONS,
        "YBR_FULL",
        burned_in="YES",
    ),
    "orthanc-tests__jp2k91YBR-ICT": Facts(
        1, 965, 1660, None, None, (0.0472941, 0.0472941), (2, 67, 1488, 846), REGIONS, "YBR_ICT"
    ),
    "pypi-pydicom-data__JPGLosslessP14SV1_1s_1f_8b": Facts(
        1,
        768,
        1024,
        None,
        None,
        (0.2547670, 0.2547670),
        (14, 38, 1011, 759),
        REGIONS,
        "MONOCHROME2",
        burned_in="NO",
    ),
    # The second frame of these three is a sector filled with blue.
    **{
        f"pypi-pydicom-data__OBXXXX1A{kind}_2frame": Facts(
            2,
            600,
            800,
            30.0,
            "assumed",
            (0.2622879, 0.2622879),
            PHILIPS_BOX,
            REGIONS,
            "PALETTE COLOR",
            colour=True,
        )
        for kind in ("", "_expb", "_rle")
    },
    "pypi-pydicom-data__US1_J2KR": Facts(1, 480, 640, None, None, None, None, SHAPE, "YBR_RCT", colour=True),
    "pypi-pydicom-data__US1_UNCR": Facts(1, 480, 640, None, None, None, None, SHAPE, "RGB", colour=True),
    "pypi-pydicom-data__color3d_jpeg_baseline": Facts(
        120,
        480,
        640,
        1000 / 33.333,
        "FrameTime",
        (0.5104971, 0.5104971),
        (84, 31, 596, 415),
        REGIONS,
        "YBR_FULL_422",
    ),
    "pypi-pydicom-data__gdcm-US-ALOKA-16": Facts(  # two regions of the same size; the first is used
        1, 480, 640, None, None, (0.3826531, 0.3826531), (32, 24, 336, 416), REGIONS, "PALETTE COLOR"
    ),
    "tensorflow-io__US-MONO2-8-8x-execho": Facts(
        8, 120, 128, 10.0, "FrameTime", None, (0, 0, 128, 120), WHOLE, "MONOCHROME2"
    ),
    "tensorflow-io__US-RGB-8-esopecho": Facts(
        1, 120, 256, None, None, None, (0, 0, 256, 120), WHOLE, "RGB", colour=True
    ),
}
REFUSED = {"dcm4che__will-jxl": "JPEG XL"}


def test_every_file_is_in_the_table(data_dir: Path) -> None:
    assert {f.stem for f in (data_dir / "dicom").glob("*.dcm")} == set(TABLE) | set(REFUSED)


@pytest.mark.parametrize("name", TABLE)
def test_facts(data_dir: Path, name: str) -> None:
    want = TABLE[name]
    cine = open_cine(data_dir / "dicom" / f"{name}.dcm")
    got = describe(cine)
    assert (got["frames"], got["rows"], got["columns"]) == want[:3]
    assert got["fps"] == (None if want.fps is None else pytest.approx(want.fps, abs=2e-3))
    assert got["timing_source"] == want.timing
    assert len(cine.timing.times_ms) == want.frames
    assert cine.timing.times_ms[0] == 0
    if want.mm is None:
        assert cine.calibration is None
    else:
        assert cine.calibration is not None
        assert (cine.calibration.mm_per_px_x, cine.calibration.mm_per_px_y) == pytest.approx(
            want.mm, rel=1e-5
        )
        assert cine.calibration.source == REGIONS
    assert got["region_source"] == want.region_source
    if want.box is not None:
        assert tuple(got["region"].values()) == want.box
    assert got["colour_doppler"] is want.colour
    assert (got["view"], got["burned_in_annotation"]) == (want.view, want.burned_in)
    assert got["pixel_format"].startswith(f"{want.photometric}, ")


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_files_are_rejected(data_dir: Path, name: str) -> None:
    with pytest.raises(CineError, match=REFUSED[name]) as caught:
        open_cine(data_dir / "dicom" / f"{name}.dcm")
    assert name in str(caught.value)


@pytest.mark.parametrize("name", TABLE)
def test_luma_equals_that_of_pydicom(data_dir: Path, name: str) -> None:
    path = data_dir / "dicom" / f"{name}.dcm"
    cine = open_cine(path)
    ds = dcmread(path)
    for index in {0, cine.n_frames // 2}:
        rgb = pixel_array(ds, index=index)
        if name.endswith("_expb_2frame"):
            # pydicom reads the palette of a big-endian file the wrong way round: compare with its twin.
            twin = open_cine(path.with_name(path.name.replace("_expb", "")))
            assert np.array_equal(cine.frame(index), twin.frame(index))
            continue
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            rgb = apply_color_lut(rgb, ds)
            rgb = rgb if rgb.dtype == np.uint8 else rgb >> 8
        expected = rgb.astype(float) if rgb.ndim == 2 else rgb @ np.array([0.299, 0.587, 0.114])
        difference = np.abs(cine.frame(index) - expected)
        # Strong colours are clipped on their way through RGB; those pixels are few.
        assert np.median(difference) <= 1
        assert np.mean(difference > 3) < 0.01


def test_motion_finds_the_region_of_the_tags(data_dir: Path) -> None:
    from app.readers.dicom_file import sample_frames
    from app.readers.region import find_region

    for name in ("pypi-pydicom-data__color3d_jpeg_baseline", "mglev1n-echocv__Image-41"):
        cine = open_cine(data_dir / "dicom" / f"{name}.dcm")
        box, how = find_region(sample_frames(cine.source, cine.n_frames))
        tag = cine.region
        assert how == MOTION
        inside = max(0, min(box.x1, tag.x1) - max(box.x0, tag.x0)) * max(
            0, min(box.y1, tag.y1) - max(box.y0, tag.y0)
        )
        union = box.width * box.height + tag.width * tag.height - inside
        assert inside / union > 0.85


def test_clips_and_camus(data_dir: Path) -> None:
    clip = open_cine(data_dir / "clips" / "unity-a4c__echo.mp4")
    assert (clip.n_frames, clip.height, clip.width) == (43, 320, 426)
    assert clip.region_source == MOTION
    still = open_cine(data_dir / "camus" / "native_4ch" / "patient0200_4CH_ED.nii.gz")
    assert (still.n_frames, still.height, still.width) == (1, 487, 590)
    assert still.calibration is not None
    assert still.calibration.mm_per_px_x == pytest.approx(0.308)
    assert still.frame(0)[:40, 290:300].max() > 60  # the apex is at the top
