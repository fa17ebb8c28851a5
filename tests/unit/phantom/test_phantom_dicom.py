"""Phantom cines as DICOM are read by the program with correct timing, calibration and pixels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from app.bench.phantom_dicom import draw_sheet, main, write_phantom_dicom
from app.domain.cine import TimingSource
from app.readers.open import open_cine

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 33, 47), np.uint8)  # odd numbers along every axis


def _write(path: Path, *, jpeg: bool = False, frames: np.ndarray = FRAMES) -> Path:
    write_phantom_dicom(path, frames, fps=47.5, mm_per_px=(0.5, 0.75), view="A2C", heart_rate=71.6, jpeg=jpeg)
    return path


@pytest.mark.parametrize("jpeg", [False, True])
def test_the_program_reads_time_size_and_view(tmp_path: Path, jpeg: bool) -> None:
    cine = open_cine(_write(tmp_path / "cine.dcm", jpeg=jpeg))
    assert (cine.n_frames, cine.height, cine.width) == FRAMES.shape
    assert cine.timing.source is TimingSource.FRAME_TIME
    assert cine.timing.fps == pytest.approx(47.5, rel=1e-5)
    assert cine.calibration is not None
    assert (cine.calibration.mm_per_px_y, cine.calibration.mm_per_px_x) == pytest.approx((0.5, 0.75))
    assert cine.view == "A2C"
    assert not cine.colour_doppler
    assert not cine.warnings


def test_uncompressed_pixels_are_unchanged(tmp_path: Path) -> None:
    cine = open_cine(_write(tmp_path / "cine.dcm"))
    np.testing.assert_array_equal(np.stack([cine.frame(i) for i in range(5)]), FRAMES)


def test_jpeg_pixels_are_nearly_unchanged(tmp_path: Path) -> None:
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 4) for frame in FRAMES])
    cine = open_cine(_write(tmp_path / "cine.dcm", jpeg=True, frames=smooth))
    back = np.stack([cine.frame(i) for i in range(5)]).astype(int)
    assert np.abs(back - smooth).max() <= 6


def test_files_are_reproducible_and_uids_depend_on_the_content(tmp_path: Path) -> None:
    once, again = (_write(tmp_path / f"{name}.dcm") for name in "ab")
    assert once.read_bytes() == again.read_bytes()
    coded = pydicom.dcmread(_write(tmp_path / "c.dcm", jpeg=True), stop_before_pixels=True)
    assert coded.SOPInstanceUID != pydicom.dcmread(once, stop_before_pixels=True).SOPInstanceUID


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of dicom3tools is not installed")
def test_the_file_is_valid(tmp_path: Path, jpeg: bool) -> None:
    done = subprocess.run(
        ["dciodvfy", str(_write(tmp_path / "cine.dcm", jpeg=jpeg))],
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "USMultiFrameImage" in output
    assert "Error" not in output
    assert "Warning" not in output


def test_invalid_arguments_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "cine.dcm"
    with pytest.raises(ValueError, match="uint8 stack"):
        write_phantom_dicom(path, FRAMES[0], fps=30, mm_per_px=(1, 1), view="A4C")
    with pytest.raises(ValueError, match="must be positive"):
        write_phantom_dicom(path, FRAMES, fps=0, mm_per_px=(1, 1), view="A4C")
    assert not path.exists()


def test_one_command_writes_a_cine_and_its_labels(tmp_path: Path) -> None:
    out, labels = tmp_path / "cine.dcm", tmp_path / "labels"
    main(["--out", str(out), "--labels", str(labels), "--frames", "3", "--size", "64", "--view", "A4C"])
    cine = open_cine(out)
    assert (cine.n_frames, cine.height, cine.view) == (3, 64, "A4C")
    assert sorted(p.name for p in labels.iterdir()) == [f"frame_000{i}.png" for i in range(3)]
    mask = cv2.imread(str(labels / "frame_0001.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (64, 64)
    assert set(np.unique(mask)) <= {0, 1, 2, 3}


def test_the_sheet_shows_real_and_phantom_frames(tmp_path: Path) -> None:
    draw_sheet(tmp_path / "sheet.png", seed=0, side=64)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (7 * 64, 6 * 64, 3)
    squares = sheet.reshape(7, 64, 6, 64, 3).swapaxes(1, 2)
    assert (squares.max(axis=(2, 3, 4)) > 40).all()
    coloured = (squares.max(axis=-1) != squares.min(axis=-1)).any(axis=(2, 3))
    assert coloured[2].all()
    assert not coloured[[0, 1, 3, 4, 5, 6]].any(), "only labels are drawn in colour"
