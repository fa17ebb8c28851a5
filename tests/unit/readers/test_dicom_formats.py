"""Video, GIF, NIfTI, images."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from app.domain.cine import TimingSource
from app.domain.errors import CineError
from app.readers.describe import describe
from app.readers.open import open_cine
from tests.unit.readers.dicom_oracle import luma, rgb_frames

RGB = rgb_frames(9)
GREY = np.rint(luma(RGB)).astype(np.uint8)


def video(path: Path, codec: str, fps: float = 20.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (128, 96))
    for frame in RGB:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG")])
def test_video_in_any_order(tmp_path: Path, name: str, codec: str) -> None:
    cine = open_cine(video(tmp_path / name, codec))
    assert (cine.n_frames, cine.height, cine.width) == (9, 96, 128)
    assert cine.timing.fps == pytest.approx(20, rel=0.01)
    assert cine.timing.source is TimingSource.CONTAINER
    for i in (8, 0, 5, 2):
        assert np.abs(cine.frame(i).astype(float) - GREY[i]).mean() < 6
    assert cine.calibration is None


def test_a_video_is_recognised_by_content(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi", "MJPG").rename(tmp_path / "a.bin")
    assert open_cine(path).n_frames == 9


def test_damaged_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = video(tmp_path / "a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CineError, match=r"a\.mp4 has no video"):
        open_cine(path)
    assert capfd.readouterr().err == ""


def test_a_truncated_video_is_reported(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi", "MJPG")
    assert not any("truncated" in warning for warning in open_cine(path).warnings)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    cine = open_cine(path)
    assert 0 < cine.n_frames < 7
    assert any(f"truncated: {cine.n_frames} of 9" in warning for warning in cine.warnings)


def test_gif(tmp_path: Path) -> None:
    pages = [Image.fromarray(f) for f in GREY]
    durations = [40, 40, 80, 40, 40, 40, 40, 40, 40]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=durations)
    cine = open_cine(tmp_path / "a.gif")
    assert cine.n_frames == 9
    assert cine.timing.times_ms.tolist() == [0, 40, 80, 160, 200, 240, 280, 320, 360]
    for i in (8, 3, 0):
        assert np.abs(cine.frame(i).astype(float) - GREY[i]).max() <= 2


def nifti(path: Path, array: np.ndarray, zooms: tuple[float, ...], time_unit: str | None = None) -> Path:
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", time_unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_cine(tmp_path: Path, name: str) -> None:
    cine = open_cine(nifti(tmp_path / name, GREY.transpose(2, 1, 0), (0.3, 0.4, 0.05), "sec"))
    assert (cine.n_frames, cine.height, cine.width) == (9, 96, 128)
    assert all(np.array_equal(cine.frame(i), GREY[i]) for i in range(9))
    assert cine.timing.source is TimingSource.CONTAINER
    assert cine.timing.fps == pytest.approx(20)
    assert cine.calibration is not None
    assert (cine.calibration.mm_per_px_x, cine.calibration.mm_per_px_y) == pytest.approx((0.3, 0.4))


def test_nifti_step_without_a_unit_is_ignored(tmp_path: Path) -> None:
    cine = open_cine(nifti(tmp_path / "a.nii", GREY.transpose(2, 1, 0), (0.3, 0.3, 0.3)))
    assert cine.timing.source is TimingSource.ASSUMED


def test_nifti_4d_with_one_plane_and_float_still(tmp_path: Path) -> None:
    cine = open_cine(
        nifti(tmp_path / "a.nii", GREY.transpose(2, 1, 0)[:, :, None], (0.3, 0.3, 1, 40), "msec")
    )
    assert cine.n_frames == 9
    assert cine.timing.fps == pytest.approx(25)
    still = open_cine(nifti(tmp_path / "b.nii", GREY[0].T.astype(np.float32), (0.3, 0.3)))
    assert np.array_equal(still.frame(0), GREY[0])
    wide = open_cine(nifti(tmp_path / "c.nii", GREY.transpose(2, 1, 0).astype(np.int16) * 20, (0.3, 0.3, 1)))
    assert wide.frame(0).max() == 255


def test_nifti_volumes_and_damaged_files_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(CineError, match=r"a\.nii has the shape"):
        open_cine(nifti(tmp_path / "a.nii", np.zeros((8, 8, 4, 3), np.uint8), (1, 1, 1, 1)))
    with pytest.raises(CineError, match=r"e\.nii\.gz has no frames"):
        open_cine(nifti(tmp_path / "e.nii.gz", np.zeros((0, 8, 8), np.uint8), (1, 1, 1)))
    path = nifti(tmp_path / "b.nii.gz", GREY.transpose(2, 1, 0), (0.3, 0.3, 1))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CineError, match=r"b\.nii\.gz"):
        open_cine(path)


def test_folder_of_images_in_natural_order(tmp_path: Path) -> None:
    for i, frame in enumerate(RGB):
        cv2.imwrite(str(tmp_path / f"frame_{i + 4}.png"), frame[..., ::-1])
    (tmp_path / "notes.txt").write_text("x")
    cine = open_cine(tmp_path)
    assert cine.n_frames == 9
    assert all(np.abs(cine.frame(i).astype(float) - GREY[i]).max() <= 1 for i in range(9))
    assert cine.timing.source is TimingSource.ASSUMED
    assert describe(cine)["fps_assumed"] is True


def test_folder_of_images_of_two_sizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREY[0])
    cv2.imwrite(str(tmp_path / "b.png"), GREY[0, :50])
    with pytest.raises(CineError, match=r"b\.png is 128x50"):
        open_cine(tmp_path)


def test_single_and_damaged_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREY[0])
    assert open_cine(tmp_path / "a.png").n_frames == 1
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(CineError, match=r"b\.png"):
        open_cine(tmp_path / "b.png")
