"""Import of label images from a folder of PNGs or a NIfTI."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Cine
from app.domain.errors import LabelError
from app.domain.labels import LabelSet
from app.readers.nifti_space import Affine
from app.readers.suffixes import NIFTI_SUFFIXES
from app.storage.label_folder import read_folder
from app.storage.label_nifti import read_nifti
from vjepa_core.label_image import UNLABELLED, LabelImage, structure_mask

_ROUNDING = 0.01
"""Tolerance for whole numbers: files with 16 bits and a slope give 1.00002 for 1."""

_Read = tuple[int, str, NDArray[Any]]  # frame, file name, image

_logger = logging.getLogger(__name__)


def read_labels(
    path: Path | str,
    cine_shape: tuple[int, int, int],
    label_set: LabelSet,
    *,
    affine: Affine | None = None,
    spacing_mm: tuple[float, float] | None = None,
) -> dict[int, LabelImage]:
    """Read label images drawn with another program.

    Parameters
    ----------
    path : Path or str
        A folder of ``frame_0012.png`` (8-bit label images, zero-based frame number), or a NIfTI
        (x, y, 1, t) or (x, y, t). An image that contains only 255 is skipped.
    cine_shape : tuple of int
        Frames, height and width of the cine.
    label_set : LabelSet
        Allowed labels, besides 0 (background) and 255 (unlabelled).
    affine : ndarray of float, shape (4, 4), optional
        Affine of the cine, if its file states one: a NIfTI with an affine is then reoriented to the cine.
    spacing_mm : tuple of float, optional
        Width and height of the cine's pixels; None if it is not calibrated.

    Returns
    -------
    dict of int to ndarray of uint8, shape (height, width)
        Label images by frame, without unlabelled ones. An image that contains only 0 states that its frame
        shows no structure.

    Raises
    ------
    LabelError
        If there are no labels, or if they do not fit the cine or the label set or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        read: Iterator[_Read] = read_folder(path, cine_shape)
    elif not path.exists():
        raise LabelError(
            f"There are no labels at {path}: give a folder of frame_0012.png files, or a NIfTI (x, y, 1, t)."
        )
    elif path.name.lower().endswith(NIFTI_SUFFIXES):
        read = read_nifti(path, cine_shape, affine, spacing_mm)
    else:
        raise LabelError(
            f"{path.name} is neither a folder nor a NIfTI: "
            "give a folder of frame_0012.png files, or a .nii or .nii.gz file."
        )
    labels: dict[int, LabelImage] = {}
    names: dict[int, str] = {}
    for frame, name, image in read:
        label = _checked(name, image, label_set)
        if not (label == UNLABELLED).all():
            labels[frame], names[frame] = label, name
    _check_content(path.name, labels, names, label_set)
    return dict(sorted(labels.items()))


def read_labels_of(cine: Cine, path: Path | str, label_set: LabelSet) -> dict[int, LabelImage]:
    """Read label images of an open cine; see `read_labels`."""
    shape = (cine.n_frames, cine.height, cine.width)
    return read_labels(path, shape, label_set, affine=cine.affine, spacing_mm=cine.spacing_mm)


def _check_content(
    source: str, labels: dict[int, LabelImage], names: dict[int, str], label_set: LabelSet
) -> None:
    """Raise LabelError for labels without any structure; warn of frames with ambiguous labels."""
    if not labels:
        raise LabelError(f"{source} contains no labels: add frame_0012.png files, or values other than 255.")
    nothing = [frame for frame, label in labels.items() if not structure_mask(label).any()]
    partly = [frame for frame in nothing if labels[frame].any()]  # 0 and 255
    if len(nothing) == len(labels):
        if partly:
            raise LabelError(
                f"{names[partly[0]]} contains only 0 and {UNLABELLED}, and {UNLABELLED} means unlabelled: "
                f"give each structure its own value ({_class_names(label_set)})."
            )
        raise LabelError(f"{source} contains only background: outline a structure on at least one frame.")
    if partly:
        _logger.warning(
            "%s, frame %d: only 0 and %d, which means unlabelled: no structure is read there.",
            names[partly[0]],
            partly[0],
            UNLABELLED,
        )
    empty = len(nothing) - len(partly)
    if empty:
        _logger.warning(
            "%s: %d of %d labelled frames contain only 0, which means that they show no structure; "
            "an unlabelled frame contains only %d.",
            source,
            empty,
            len(labels),
            UNLABELLED,
        )


def _checked(name: str, image: NDArray[Any], label_set: LabelSet) -> NDArray[np.uint8]:
    """Return labels as uint8; LabelError if a value is not in the label set."""
    values = np.unique(image).astype(np.float64)
    whole = np.rint(values)
    close = np.abs(values - whole) <= _ROUNDING
    known = np.isin(whole, (0, *label_set.values, UNLABELLED)) & close
    if not known.all():
        unknown = values[~known].tolist()
        shown = ", ".join(f"{value:.10g}" for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        reason = ""
        if not (close | ~np.isfinite(values)).all():
            reason = ", but labels are whole numbers"
        raise LabelError(
            f"{name} has unknown labels ({shown}){reason}: "
            f"use 0 background, {_class_names(label_set)}, or {UNLABELLED} unlabelled."
        )
    return np.asarray(image if image.dtype == np.uint8 else np.rint(image), np.uint8)


def _class_names(label_set: LabelSet) -> str:
    return ", ".join(f"{c.value} {c.name}" for c in label_set.structures)
