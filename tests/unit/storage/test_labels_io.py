"""Import of labels and export of masks, and their errors."""

from __future__ import annotations

import csv
import errno
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from app.domain.errors import LabelError
from app.domain.labels import LEFT_HEART
from app.storage.errors import ExportError
from app.storage.labels_io import read_labels
from app.storage.mask_files import write_masks

T, H, W = 6, 20, 30
SHAPE = (T, H, W)
TIMES = (25 * np.arange(T)).astype(np.float64)


def masks() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, SHAPE).astype(np.uint8)


def png(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def nifti(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def refused(path: Path, words: str, name: str | None = None) -> None:
    with pytest.raises(LabelError, match=words) as caught:
        read_labels(path, SHAPE, LEFT_HEART)
    text = str(caught.value)
    assert (name or path.name) in text
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text


# Round trips


def test_masks_written_as_png_are_read_unchanged(tmp_path: Path) -> None:
    volume = masks()
    files = write_masks(tmp_path, volume, {"png"}, None, TIMES)
    assert [file.name for file in files] == [f"frame_{frame:04d}.png" for frame in range(T)]
    back = read_labels(tmp_path / "masks", SHAPE, LEFT_HEART)
    assert list(back) == list(range(T))
    assert np.array_equal(np.stack(list(back.values())), volume)
    assert all(image.dtype == np.uint8 for image in back.values())


def test_masks_written_as_nifti_are_read_unchanged(tmp_path: Path) -> None:
    volume = masks()
    (file,) = write_masks(tmp_path, volume, ["nifti"], (0.3, 0.4), TIMES)
    assert file == tmp_path / "masks.nii.gz"
    back = read_labels(file, SHAPE, LEFT_HEART)
    assert np.array_equal(np.stack(list(back.values())), volume)
    image: Any = nib.load(file)
    assert image.shape == (W, H, 1, T)
    assert image.get_data_dtype() == np.uint8
    assert image.header.get_zooms() == pytest.approx((0.3, 0.4, 1.0, 0.025))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert np.asarray(image.dataobj)[7, 3, 0, 2] == volume[2, 3, 7]


def test_nifti_without_calibration_states_no_millimetres(tmp_path: Path) -> None:
    (file,) = write_masks(tmp_path, masks()[:1], ["nifti"], None, TIMES[:1])
    header: Any = nib.load(file).header
    assert header.get_xyzt_units()[0] == "unknown"
    assert header.get_zooms()[:2] == (1.0, 1.0)


def test_the_table_of_areas_is_written(tmp_path: Path) -> None:
    volume = np.zeros(SHAPE, np.uint8)
    volume[2, :4, :5] = 1
    (file,) = write_masks(tmp_path / "new", volume, {"csv"}, (0.5, 0.2), TIMES)
    rows = list(csv.DictReader(file.open()))
    assert len(rows) == T * 3
    assert rows[6] == {
        "frame": "2", "time_ms": "50.000", "class": "LV cavity", "pixels": "20", "area_mm2": "2.00",
    }  # fmt: skip
    (file,) = write_masks(tmp_path / "new", volume, {"csv"}, None, TIMES)
    assert {row["area_mm2"] for row in csv.DictReader(file.open())} == {""}


def test_no_temporary_file_remains(tmp_path: Path) -> None:
    write_masks(tmp_path, masks(), {"nifti", "png", "csv"}, None, TIMES)
    write_masks(tmp_path, masks(), {"nifti", "png", "csv"}, None, TIMES)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["areas.csv", "masks", "masks.nii.gz"]
    assert len(list((tmp_path / "masks").iterdir())) == T


# Labelled frames


def test_other_files_in_a_folder_are_ignored(tmp_path: Path) -> None:
    png(tmp_path / "frame_0004.png", masks()[4])
    png(tmp_path / "frame_3.PNG", masks()[3])
    png(tmp_path / "overlay.png", np.zeros((3, 3, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    assert list(read_labels(tmp_path, SHAPE, LEFT_HEART)) == [3, 4]


def test_images_of_255_only_are_unlabelled(tmp_path: Path) -> None:
    volume = np.full(SHAPE, 255, np.uint8)
    volume[1], volume[4] = masks()[1], masks()[4]
    for dtype in (np.uint8, np.int16, np.float32):
        back = read_labels(nifti(tmp_path / "l.nii.gz", volume.T.astype(dtype)), SHAPE, LEFT_HEART)
        assert list(back) == [1, 4]
        assert np.array_equal(back[4], volume[4])


def test_nifti_with_time_as_its_fourth_axis(tmp_path: Path) -> None:
    file = nifti(tmp_path / "l.nii", masks().T[:, :, None, :])
    assert np.array_equal(read_labels(file, SHAPE, LEFT_HEART)[5], masks()[5])


def test_images_with_a_palette_are_read(tmp_path: Path) -> None:
    image = Image.fromarray(masks()[0])
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 756)
    assert image.mode == "P"
    image.save(tmp_path / "frame_0000.png")
    assert np.array_equal(read_labels(tmp_path, SHAPE, LEFT_HEART)[0], masks()[0])


def test_an_image_of_background_only_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = np.zeros(SHAPE, np.uint8)
    volume[1, 2:5, 2:5] = 1
    with caplog.at_level(logging.WARNING):
        assert len(read_labels(nifti(tmp_path / "l.nii", volume.T), SHAPE, LEFT_HEART)) == T
    assert "5 of 6" in caplog.text


# Bad input


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no labels at")


def test_a_png_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    refused(png(tmp_path / "frame_0000.png", masks()[0]), "neither a folder nor a NIfTI")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    refused(tmp_path / "labels", "contains no labels")


def test_a_nifti_without_labels_is_refused(tmp_path: Path) -> None:
    refused(nifti(tmp_path / "l.nii.gz", np.full((W, H, T), 255, np.uint8)), "contains no labels")
    refused(nifti(tmp_path / "l.nii.gz", np.zeros((W, H, T), np.uint8)), "only background")


def test_the_error_states_both_sizes(tmp_path: Path) -> None:
    png(tmp_path / "p" / "frame_0001.png", np.ones((W, H), np.uint8))
    refused(tmp_path / "p", "20x30 pixels and the cine is 30x20", "frame_0001.png")
    refused(nifti(tmp_path / "l.nii", np.ones((H, W, T), np.uint8)), "20x30 pixels and the cine is 30x20")


def test_the_error_lists_unknown_and_allowed_labels(tmp_path: Path) -> None:
    image = masks()[0]
    image[0, :2] = 7, 9
    png(tmp_path / "p" / "frame_0001.png", image)
    refused(tmp_path / "p", r"\(7, 9\).*1 LV cavity, 2 LV myocardium, 3 Left atrium", "frame_0001.png")
    volume = masks().astype(np.float32)
    volume[0, 0, :2] = -1, 0.5
    refused(nifti(tmp_path / "l.nii", volume.T), r"\(-1, 0.5\)")
    volume[0, 0, :2] = np.nan
    refused(nifti(tmp_path / "l.nii", volume.T), r"\(nan\)")


def test_a_frame_beyond_the_cine_is_refused(tmp_path: Path) -> None:
    png(tmp_path / "frame_0006.png", masks()[0])
    refused(tmp_path, "has 6 frames", "frame_0006.png")
    refused(nifti(tmp_path / "l.nii", np.ones((W, H, T + 1), np.uint8)), "has 7 frames and the cine has 6")


def test_two_files_for_one_frame_are_refused(tmp_path: Path) -> None:
    png(tmp_path / "frame_0001.png", masks()[0])
    png(tmp_path / "frame_1.png", masks()[0])
    refused(tmp_path, "same frame", "frame_1.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16", "1"])
def test_images_without_8_bits_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (W, H)).save(tmp_path / "frame_0001.png")
    refused(tmp_path, f"mode {mode}, but an 8-bit label image is expected", "frame_0001.png")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (H, W)).astype(np.uint8)
    whole = png(tmp_path / "p" / "frame_0001.png", noise).read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2]):
        (tmp_path / "p" / "frame_0001.png").write_bytes(content)
        refused(tmp_path / "p", "cannot be read as a PNG", "frame_0001.png")
    for name in ("l.nii", "l.nii.gz"):
        whole = nifti(tmp_path / name, masks().T).read_bytes()
        for content in (b"", b"not a NIfTI", whole[: len(whole) // 2]):
            (tmp_path / name).write_bytes(content)
            refused(tmp_path / name, "cannot be read as a NIfTI")


def test_a_nifti_in_colour_is_refused(tmp_path: Path) -> None:
    colours = np.zeros((W, H, T), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(nifti(tmp_path / "l.nii", colours), "colours")


def test_a_nifti_with_too_many_axes_is_refused(tmp_path: Path) -> None:
    refused(nifti(tmp_path / "l.nii", np.ones((W, H, 2, T), np.uint8)), r"\(x, y, t\) is expected")


# Write errors


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="choose another folder") as caught:
        write_masks(tmp_path / "file", masks(), {"png"}, None, TIMES)
    assert "frame_0000.png" in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "may not be written"),
        (errno.EACCES, "may not be written"),
    ],
)
def test_a_failed_export_leaves_the_earlier_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    old = write_masks(tmp_path, np.zeros(SHAPE, np.uint8), {"csv", "nifti"}, None, TIMES)
    before = [file.read_bytes() for file in old]

    def fail(self: Path, target: Path) -> Path:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "replace", fail)
    for name in ("csv", "nifti"):
        with pytest.raises(ExportError, match=words):
            write_masks(tmp_path, masks(), {name}, None, TIMES)
    assert [file.read_bytes() for file in old] == before
    assert len(list(tmp_path.iterdir())) == 2


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jpeg"):
        write_masks(tmp_path, masks(), {"jpeg"}, None, TIMES)


@pytest.mark.data
def test_camus_labels_are_read_in_their_orientation(data_dir: Path) -> None:
    folder = data_dir / "camus" / "native_4ch"
    files = sorted(folder.rglob("*_gt.nii.gz"))
    if not files:
        pytest.skip("no native CAMUS labels here")
    shape = nib.load(files[0]).shape  # type: ignore[attr-defined]
    (label,) = read_labels(files[0], (1, shape[1], shape[0]), LEFT_HEART).values()
    # The probe is at the top: the apex of the cavity lies above the atrium.
    assert np.nonzero(label == 1)[0].mean() < np.nonzero(label == 3)[0].mean()
