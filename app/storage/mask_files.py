"""Export of masks as NIfTI, PNGs and a table of areas."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.cine import Calibration
from app.domain.labels import LEFT_HEART, LabelSet
from app.readers.nifti_space import Affine, plain_affine
from app.storage.errors import export_error
from vjepa_core.atomic import replacing

_ALIGNED = 2  # code of a NIfTI's sform and qform: coordinates of another image

CalibrationOf = Callable[[NDArray[np.bool_]], Calibration | None]
"""Returns the pixel size of a structure, a mask (height, width); None if it is not calibrated."""


def write_masks(
    out_dir: Path | str,
    masks: NDArray[np.uint8],
    formats: Collection[str],
    spacing_mm: tuple[float, float] | None,
    frame_times_ms: NDArray[np.float64],
    *,
    label_set: LabelSet = LEFT_HEART,
    affine: Affine | None = None,
    calibration_of: CalibrationOf | None = None,
) -> list[Path]:
    """Write the label images of a whole cine.

    Parameters
    ----------
    out_dir : Path or str
        Folder to write to, created if necessary.
    masks : ndarray of uint8, shape (frames, height, width)
        Label images.
    formats : collection of str
        Any of "nifti" (``masks.nii.gz``, uint8, (x, y, 1, t), with the mean time step in seconds as
        pixdim[4]), "png" (``masks/frame_0000.png``, 8-bit, values are labels) and "csv" (``areas.csv``:
        pixels of every structure on every frame, and mm2 if calibrated).
    spacing_mm : tuple of float or None
        Width and height of a pixel in mm; None if the cine is not calibrated.
    frame_times_ms : ndarray of float, shape (frames,)
        Time of every frame.
    label_set : LabelSet
        Names of the structures.
    affine : ndarray of float, shape (4, 4), optional
        Affine of the cine, if its file states one; default one computed from `spacing_mm`.
    calibration_of : callable, optional
        Returns the pixel size of a structure, as `Cine.calibration_of`; default `spacing_mm` for all.

    Returns
    -------
    list of Path
        The files; each is complete or absent.

    Raises
    ------
    ExportError
        If the folder cannot be written.
    ValueError
        If `formats` has another name, or `masks` and `frame_times_ms` do not fit each other.
    """
    unknown = set(formats) - {"nifti", "png", "csv"}
    if unknown or masks.ndim != 3 or len(frame_times_ms) != len(masks):
        raise ValueError(f"formats {sorted(unknown)}, masks {masks.shape}, {len(frame_times_ms)} times")
    out = Path(out_dir)
    written: list[Path] = []
    if "nifti" in formats:
        unit = "unknown" if affine is None and spacing_mm is None else "mm"
        image = _nifti(masks, plain_affine(spacing_mm) if affine is None else affine, unit, frame_times_ms)
        written.append(_write(out / "masks.nii.gz", lambda temporary: nib.save(image, temporary)))
    if "png" in formats:
        for frame, mask in enumerate(masks):
            picture = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
            written.append(_write(out / "masks" / f"frame_{frame:04d}.png", picture.save))
    if "csv" in formats:
        if calibration_of is None:
            calibration_of = _everywhere(spacing_mm)
        rows = list(_area_rows(masks, spacing_mm is not None, calibration_of, frame_times_ms, label_set))
        written.append(_write(out / "areas.csv", lambda temporary: _write_csv(temporary, rows)))
    return written


def _everywhere(spacing_mm: tuple[float, float] | None) -> CalibrationOf:
    calibration = None if spacing_mm is None else Calibration(*spacing_mm, "given")
    return lambda _mask: calibration


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path that becomes `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, keep_suffix=True) as temporary:
            write(temporary)
    except OSError as error:
        raise export_error(path, error) from error
    return path


def _nifti(
    masks: NDArray[np.uint8], affine: Affine, unit: str, frame_times_ms: NDArray[np.float64]
) -> nib.Nifti1Image:
    n = len(frame_times_ms)
    step_s = float(frame_times_ms[-1] - frame_times_ms[0]) / (n - 1) / 1000.0 if n > 1 else 0.0
    volume = np.ascontiguousarray(masks.transpose(2, 1, 0)[:, :, None, :], dtype=np.uint8)
    image = nib.Nifti1Image(volume, affine)
    image.set_sform(affine, _ALIGNED)
    try:  # programs differ in which of the two they read; a sheared affine has no qform
        image.set_qform(affine, _ALIGNED, strip_shears=False)
    except nib.spatialimages.HeaderDataError:
        image.set_qform(None, 0)
    image.header.set_zooms((*image.header.get_zooms()[:3], step_s or 1.0))
    image.header.set_xyzt_units(unit, "sec")
    image.header["descrip"] = b"labels (x, y, 1, t); pixdim[4] is seconds per frame"
    return image


def _area_rows(
    masks: NDArray[np.uint8],
    calibrated: bool,
    calibration_of: CalibrationOf,
    frame_times_ms: NDArray[np.float64],
    label_set: LabelSet,
) -> Iterator[tuple[str, ...]]:
    for frame, mask in enumerate(masks):
        for label in label_set.structures:
            structure = mask == label.value
            pixels = int(structure.sum())
            area = "0.00" if calibrated and not pixels else ""
            size = calibration_of(structure) if pixels else None
            if size is not None:
                area = f"{pixels * size.mm_per_px_x * size.mm_per_px_y:.2f}"
            yield str(frame), f"{frame_times_ms[frame]:.3f}", label.name, str(pixels), area


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("frame", "time_ms", "class", "pixels", "area_mm2"))
        writer.writerows(rows)
