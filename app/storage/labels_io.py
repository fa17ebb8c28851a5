"""Label images in: a folder of PNGs or a NIfTI. Masks out: NIfTI, PNGs and areas.

NIfTI arrays are indexed (x, y, t): ``masks.transpose(2, 1, 0)`` of an array (t, y, x). Reading is the
exact inverse and looks at indices alone, whatever the affine says.
"""

from __future__ import annotations

import csv
import logging
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.cine import Frame
from app.domain.errors import LabelError
from app.domain.labels import LEFT_HEART, UNLABELLED, LabelSet
from app.storage.errors import export_error

_FRAME_FILE = re.compile(r"frame_(\d+)\.png", re.IGNORECASE)
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_EIGHT_BIT_MODES = ("L", "P")  # grey, or numbers with a palette: both hold the label itself

_Read = tuple[int, str, NDArray[Any]]  # frame, file name, image

_logger = logging.getLogger(__name__)


def read_labels(path: Path | str, cine_shape: tuple[int, int, int], label_set: LabelSet) -> dict[int, Frame]:
    """Read label images drawn elsewhere.

    Parameters
    ----------
    path
        A folder of ``frame_0012.png`` (8-bit label images, zero-based frame number), or a NIfTI
        (x, y, t) in which an unlabelled frame is 255 throughout.
    cine_shape
        Frames, height and width of the cine.
    label_set
        The labels that may occur, besides 0 (background) and 255 (nobody said).

    Returns
    -------
    dict
        Label image (height, width) uint8 by frame number; frames that are 255 throughout are left out.

    Raises
    ------
    LabelError
        If there are no labels, or they do not fit the cine or the label set, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        read = _from_folder(path, cine_shape)
    elif not path.exists():
        raise LabelError(
            f"There are no labels at {path}: give a folder of frame_0012.png files, or a NIfTI (x, y, t)."
        )
    elif path.name.lower().endswith(_NIFTI_SUFFIXES):
        read = _from_nifti(path, cine_shape)
    else:
        raise LabelError(
            f"{path.name} is neither a folder nor a NIfTI: "
            "give a folder of frame_0012.png files, or a .nii or .nii.gz file."
        )
    labels: dict[int, Frame] = {}
    for frame, name, image in read:
        _check_values(name, image, label_set)
        if not (image == UNLABELLED).all():
            labels[frame] = image.astype(np.uint8)
    if not labels:
        raise LabelError(
            f"{path.name} holds no labels: add frame_0012.png files, or frames that are not 255 throughout."
        )
    blank = [frame for frame, image in labels.items() if not image.any()]
    if len(blank) == len(labels):
        raise LabelError(f"{path.name} holds background alone: outline a structure on at least one frame.")
    if blank:
        _logger.warning(
            "%s: %d of %d labelled frames are background throughout; an unlabelled frame is %d throughout",
            path.name,
            len(blank),
            len(labels),
            UNLABELLED,
        )
    return dict(sorted(labels.items()))


def _from_folder(folder: Path, cine_shape: tuple[int, int, int]) -> Iterator[_Read]:
    n_frames, height, width = cine_shape
    seen: dict[int, str] = {}
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise LabelError(
            f"{folder} cannot be read ({error.strerror}): check that you may read it."
        ) from error
    for file in files:
        match = _FRAME_FILE.fullmatch(file.name)
        if match is None:
            continue
        frame = int(match[1])
        if frame in seen:
            raise LabelError(f"{seen[frame]} and {file.name} are labels of the same frame: keep one of them.")
        if frame >= n_frames:
            raise LabelError(
                f"{file.name} is beyond the cine, which has {n_frames} frames (0 to {n_frames - 1}): "
                "rename or remove it."
            )
        seen[frame] = file.name
        yield frame, file.name, _read_png(file, (height, width))


def _read_png(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise LabelError(
                    f"{file.name} is a picture in mode {image.mode} where an 8-bit label image is expected: "
                    "save it in grey with the labels as pixel values."
                )
            _check_size(file.name, (image.height, image.width), size)
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise LabelError(f"{file.name} cannot be read as a PNG: save it again, or remove it.") from error


def _from_nifti(file: Path, cine_shape: tuple[int, int, int]) -> Iterator[_Read]:
    n_frames, height, width = cine_shape
    try:
        image: Any = nib.load(file)
        if image.get_data_dtype().names is not None:
            raise LabelError(f"{file.name} holds colours where labels are expected: save it in grey.")
        # (x, y, 1, t) is the same thing with NIfTI's own place for time; (x, y) is one frame.
        shape = tuple(image.shape)
        plain = (shape[0], shape[1], shape[3]) if len(shape) == 4 and shape[2] == 1 else shape
        plain = (*plain, 1) if len(plain) == 2 else plain
        if len(plain) != 3:
            raise LabelError(f"{file.name} has {len(shape)} axes where (x, y, t) is expected: save it so.")
        if plain[2] != n_frames:
            raise LabelError(
                f"{file.name} has {plain[2]} frames and the cine has {n_frames}: "
                f"give one frame for each, {UNLABELLED} throughout where nothing is labelled."
            )
        _check_size(file.name, (plain[1], plain[0]), (height, width))
        volume = np.asanyarray(image.dataobj).reshape(plain).transpose(2, 1, 0)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise LabelError(f"{file.name} cannot be read as a NIfTI: save it again.") from error
    for frame in range(n_frames):
        yield frame, file.name, volume[frame]


def _check_size(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise LabelError(
            f"{name} is {size[1]}x{size[0]} pixels and the cine is {expected[1]}x{expected[0]}: "
            "draw the labels on the cine's own pixels."
        )


def _check_values(name: str, image: NDArray[np.generic], label_set: LabelSet) -> None:
    known = (0, *label_set.values, UNLABELLED)
    unknown = [value for value in np.unique(image).tolist() if value not in known]
    if unknown:
        shown = ", ".join(f"{value:g}" for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        names = ", ".join(f"{c.value} {c.name}" for c in label_set.classes)
        raise LabelError(
            f"{name} has unknown labels ({shown}): use 0 background, {names}, or {UNLABELLED} unlabelled."
        )


def write_masks(
    out_dir: Path | str,
    masks: NDArray[np.uint8],
    formats: Collection[str],
    spacing_mm: tuple[float, float] | None,
    frame_times_ms: NDArray[np.float64],
    *,
    label_set: LabelSet = LEFT_HEART,
) -> list[Path]:
    """Write the label images of a whole cine.

    Parameters
    ----------
    out_dir
        Folder to write to; made if it is not there.
    masks
        Shape (frames, height, width), uint8: values are labels.
    formats
        Any of "nifti" (``masks.nii.gz``, uint8, (x, y, t), pixdim from the calibration and the mean
        time step in milliseconds), "png" (``masks/frame_0000.png``, 8-bit, values are labels) and
        "csv" (``areas.csv``: pixels and, where calibrated, mm2 of every class on every frame).
    spacing_mm
        Width and height of a pixel in mm; None if the cine is not calibrated.
    frame_times_ms
        Time of every frame.
    label_set
        Names of the classes.

    Returns
    -------
    list of Path
        The files written: each is whole or not there.

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
        image = _nifti(masks, spacing_mm, frame_times_ms)
        written.append(_write(out / "masks.nii.gz", lambda temporary: nib.save(image, temporary)))
    if "png" in formats:
        for frame, mask in enumerate(masks):
            picture = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
            written.append(_write(out / "masks" / f"frame_{frame:04d}.png", picture.save))
    if "csv" in formats:
        rows = list(_area_rows(masks, spacing_mm, frame_times_ms, label_set))
        written.append(_write(out / "areas.csv", lambda temporary: _write_csv(temporary, rows)))
    return written


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in its place at once."""
    # The suffix stays: it tells the libraries which format to write.
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise export_error(path, error) from error
    return path


def _nifti(
    masks: NDArray[np.uint8], spacing_mm: tuple[float, float] | None, frame_times_ms: NDArray[np.float64]
) -> nib.Nifti1Image:
    dx, dy = spacing_mm or (1.0, 1.0)
    n = len(frame_times_ms)
    step = float(frame_times_ms[-1] - frame_times_ms[0]) / (n - 1) if n > 1 else 0.0
    # x to the left and y downwards, as ITK writes a plain picture: viewers show it the right way up.
    affine = np.diag([-dx, -dy, step or 1.0, 1.0])
    image = nib.Nifti1Image(np.ascontiguousarray(masks.transpose(2, 1, 0), dtype=np.uint8), affine)
    image.header.set_xyzt_units("mm" if spacing_mm else "unknown", "msec")
    image.header["descrip"] = b"labels (x, y, t); pixdim[3] is ms per frame"
    return image


def _area_rows(
    masks: NDArray[np.uint8],
    spacing_mm: tuple[float, float] | None,
    frame_times_ms: NDArray[np.float64],
    label_set: LabelSet,
) -> Iterator[tuple[str, ...]]:
    for frame, mask in enumerate(masks):
        counts = np.bincount(mask.ravel(), minlength=256)
        for label in label_set.classes:
            pixels = int(counts[label.value])
            area = f"{pixels * spacing_mm[0] * spacing_mm[1]:.2f}" if spacing_mm else ""
            yield str(frame), f"{frame_times_ms[frame]:.3f}", label.name, str(pixels), area


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("frame", "time_ms", "class", "pixels", "area_mm2"))
        writer.writerows(rows)
