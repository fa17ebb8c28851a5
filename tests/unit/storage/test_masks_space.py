"""Affines of exported masks and of imported labels."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from app.domain.cine import Box, Calibration, Cine, Region
from app.domain.errors import LabelError
from app.domain.labels import LEFT_HEART
from app.readers.open import open_cine
from app.storage.labels_io import read_labels
from app.storage.mask_files import write_masks

T, H, W = 5, 24, 32
SHAPE = (T, H, W)
TIMES = (40 * np.arange(T)).astype(np.float64)
PLACED = np.array([[0.5, 0, 0, -40.0], [0, 0.4, 0, 25.0], [0, 0, 1, 3.0], [0, 0, 0, 1]])
CORONAL = np.array([[-0.5, 0, 0, 8.0], [0, 0, 1, -3.0], [0, -0.4, 0, 25.0], [0, 0, 0, 1]])


def masks() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, SHAPE).astype(np.uint8)


def written(folder: Path, **options: Any) -> Path:
    (file,) = write_masks(folder, masks(), {"nifti"}, (0.5, 0.4), TIMES, **options)
    return file


def read(path: Path, **options: Any) -> np.ndarray:
    return np.stack(list(read_labels(path, SHAPE, LEFT_HEART, **options).values()))


@pytest.mark.parametrize("affine", [PLACED, CORONAL])
def test_masks_have_the_affine_of_their_cine(tmp_path: Path, affine: np.ndarray) -> None:
    image: Any = nib.load(written(tmp_path, affine=affine))
    assert image.affine == pytest.approx(affine)
    assert image.get_qform() == pytest.approx(affine, abs=1e-5)
    assert image.shape == (W, H, 1, T)
    assert image.header.get_zooms()[3] == pytest.approx(0.04)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert np.array_equal(read(tmp_path / "masks.nii.gz", affine=affine), masks())


def test_a_sheared_affine_is_preserved(tmp_path: Path) -> None:
    sheared = PLACED.copy()
    sheared[0, 1] = 0.1
    image: Any = nib.load(written(tmp_path, affine=sheared))
    assert image.affine == pytest.approx(sheared)
    assert np.array_equal(read(tmp_path / "masks.nii.gz", affine=sheared), masks())


@pytest.mark.parametrize("affine", [PLACED, CORONAL])
@pytest.mark.parametrize("four_axes", [True, False])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RPI", "AIR", "SLP"])
def test_labels_in_another_orientation_are_reoriented_to_the_cine(
    tmp_path: Path, affine: np.ndarray, four_axes: bool, codes: str
) -> None:
    volume = masks().transpose(2, 1, 0)
    image: Any = nib.Nifti1Image(volume[:, :, None] if four_axes else volume, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(image.as_reoriented(turn), tmp_path / "l.nii.gz")
    assert np.array_equal(read(tmp_path / "l.nii.gz", affine=affine), masks())


def test_old_and_new_masks_are_read(tmp_path: Path) -> None:
    volume = masks().transpose(2, 1, 0)
    for array in (volume, volume[:, :, None]):
        nib.save(nib.Nifti1Image(array, PLACED), tmp_path / "l.nii.gz")
        assert np.array_equal(read(tmp_path / "l.nii.gz", affine=PLACED), masks())
    # Older versions wrote masks without the affine of the cine.
    old = nib.Nifti1Image(volume, np.diag([-0.5, -0.4, 40.0, 1.0]))
    old.header["descrip"] = b"labels (x, y, t); pixdim[3] is ms per frame"
    nib.save(old, tmp_path / "old.nii.gz")
    assert np.array_equal(read(tmp_path / "old.nii.gz", affine=PLACED), masks())
    assert np.array_equal(read(tmp_path / "old.nii.gz", spacing_mm=(0.5, 0.4)), masks())


@pytest.mark.parametrize(
    "other",
    [
        np.eye(4),
        PLACED @ np.diag([-1, 1, 1, 1]),  # mirrored about a line other than the middle of the cine
        PLACED @ np.diag([1.1, 1.1, 1, 1]),
        PLACED + np.array([[0, 0, 0, 0.3], [0] * 4, [0] * 4, [0] * 4]),
        np.array([[0.4, 0.2, 0, -40.0], [-0.2, 0.4, 0, 25.0], [0, 0, 1, 3.0], [0, 0, 0, 1]]),  # oblique
    ],
)
def test_labels_at_another_position_are_refused(tmp_path: Path, other: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(masks().transpose(2, 1, 0), other), tmp_path / "l.nii.gz")
    with pytest.raises(LabelError, match="does not match the position of the cine") as caught:
        read(tmp_path / "l.nii.gz", affine=PLACED)
    assert "\n" not in str(caught.value)
    # Labels cannot contradict the position of a cine without an affine.
    assert np.array_equal(read(tmp_path / "l.nii.gz", spacing_mm=(0.5, 0.4)), masks())


def test_labels_that_state_no_orientation_are_read_by_index(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(masks().transpose(2, 1, 0), None), tmp_path / "l.nii.gz")
    assert np.array_equal(read(tmp_path / "l.nii.gz", affine=PLACED), masks())


def test_masks_reoriented_by_another_program_are_read(tmp_path: Path) -> None:
    turned = nib.as_closest_canonical(nib.load(written(tmp_path)))
    assert turned.affine[0, 0] > 0
    nib.save(turned, tmp_path / "l.nii.gz")
    assert np.array_equal(read(tmp_path / "l.nii.gz", spacing_mm=(0.5, 0.4)), masks())


@pytest.mark.parametrize("four_axes", [True, False])
@pytest.mark.parametrize("unit", ["mm", "meter", "micron"])
def test_the_affine_of_a_cine_is_read_in_millimetres(tmp_path: Path, four_axes: bool, unit: str) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (T, 96, 128)).astype(np.uint8).transpose(2, 1, 0)
    scale = {"mm": 1.0, "meter": 1e-3, "micron": 1e3}[unit]
    image = nib.Nifti1Image(
        frames[:, :, None] if four_axes else frames, np.diag([scale, scale, scale, 1]) @ PLACED
    )
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "cine.nii.gz")
    cine = open_cine(tmp_path / "cine.nii.gz")
    assert cine.affine == pytest.approx(PLACED, rel=1e-5)
    assert cine.spacing_mm == pytest.approx((0.5, 0.4))


def test_a_nifti_cine_without_an_orientation_has_no_affine(tmp_path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (T, 96, 128)).astype(np.uint8).transpose(2, 1, 0)
    nib.save(nib.Nifti1Image(frames, None), tmp_path / "cine.nii.gz")
    assert open_cine(tmp_path / "cine.nii.gz").affine is None


def region(box: Box, mm: float | None) -> Region:
    size = None if mm is None else Calibration(mm, mm, "test")
    return Region(box, 1, 1, 3, 3, 0.0, 0.0, size)


def test_areas_use_the_pixel_size_of_the_region_of_the_structure(
    make_cine: Callable[..., Cine], tmp_path: Path
) -> None:
    regions = (region(Box(0, 0, 30, 40), 0.5), region(Box(34, 0, 64, 40), 0.2))
    cine = dataclasses.replace(
        make_cine(), height=40, width=64, regions=regions, calibration=regions[0].calibration
    )
    label = np.zeros((1, 40, 64), np.uint8)
    label[0, :10, 40:50] = 1  # in the smaller region
    label[0, 20:30, 20:45] = 2  # in both
    label[0, 32:38, 31:33] = 3  # between the two
    write_masks(
        tmp_path,
        label,
        {"csv"},
        cine.spacing_mm,
        np.zeros(1),
        calibration_of=cine.calibration_of,
    )
    rows = list(csv.DictReader((tmp_path / "areas.csv").open()))
    assert [(row["pixels"], row["area_mm2"]) for row in rows] == [("100", "4.00"), ("250", ""), ("12", "")]
