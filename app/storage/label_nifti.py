"""Label images in a NIfTI file, reoriented to the cine if both state an orientation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from app.domain.errors import LabelError
from app.readers.nifti_space import Affine, affine_of, load_nifti, plain_affine, reorient
from app.storage.label_folder import check_size
from vjepa_core.label_image import UNLABELLED

_OLD_MASKS = b"labels (x, y, t); pixdim"
"""Description in masks of older versions, whose affine was not that of the cine."""

_MOST_VOXELS = 1 << 60  # a larger number means a damaged header, and would overflow in numpy

_Reorient = Callable[[NDArray[Any]], NDArray[Any]]


def read_nifti(
    file: Path,
    cine_shape: tuple[int, int, int],
    affine: Affine | None,
    spacing_mm: tuple[float, float] | None,
) -> Iterator[tuple[int, str, NDArray[Any]]]:
    """Read the label images of all frames, with the values of the file.

    Parameters
    ----------
    file : Path
        Array of shape (x, y, 1, t), (x, y, t), or (x, y) for a still.
    cine_shape : tuple of int
        Frames, height and width of the cine.
    affine : ndarray of float, shape (4, 4), or None
        Affine of the cine; None if its file states none.
    spacing_mm : tuple of float or None
        Width and height of the cine's pixels; None if it is not calibrated.

    Yields
    ------
    tuple of int, str and ndarray, shape (height, width)
        Frame, file name and label image.

    Raises
    ------
    LabelError
        If the file cannot be read, or does not fit the cine.
    """
    try:
        image = load_nifti(file)
        shape, dtype = tuple(int(n) for n in image.shape), image.get_data_dtype()
    except Exception as error:  # a damaged header can cause any error in nibabel
        raise _unreadable(file) from error
    if dtype.names is not None:
        raise LabelError(f"{file.name} contains colours instead of labels: save it in grey.")
    if np.issubdtype(dtype, np.complexfloating):
        raise LabelError(f"{file.name} contains complex numbers instead of labels: save it as integers.")
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) not in (3, 4):
        raise _wrong_shape(file.name, shape)
    if min(shape) < 1 or math.prod(shape) > _MOST_VOXELS:
        raise _unreadable(file)
    to_cine = _reorientation(file.name, image, affine, spacing_mm)
    # Check the header first, so that the data of a file that does not fit the cine are not read.
    _check_shape(file.name, to_cine(np.broadcast_to(np.uint8(0), shape)).shape, cine_shape)
    try:
        labels = to_cine(np.asanyarray(image.dataobj).reshape(shape))
    except Exception as error:
        raise _unreadable(file) from error
    labels = labels.reshape(labels.shape[0], labels.shape[1], -1)
    for frame in range(cine_shape[0]):
        yield frame, file.name, labels[:, :, frame].T


def _unreadable(file: Path) -> LabelError:
    return LabelError(f"{file.name} cannot be read as a NIfTI: save it again.")


def _wrong_shape(name: str, shape: tuple[int, ...]) -> LabelError:
    return LabelError(
        f"{name} has the shape {shape}, but (x, y, 1, t) or (x, y, t) is expected: save one plane over time."
    )


def _check_shape(name: str, shape: tuple[int, ...], cine_shape: tuple[int, int, int]) -> None:
    n_frames, height, width = cine_shape
    if len(shape) == 4 and shape[2] == 1:
        shape = (shape[0], shape[1], shape[3])
    if len(shape) != 3:
        raise _wrong_shape(name, shape)
    if shape[2] != n_frames:
        raise LabelError(
            f"{name} has {shape[2]} frames and the cine has {n_frames}: "
            f"save one image per frame of the cine, filled with {UNLABELLED} if nothing is labelled."
        )
    check_size(name, (shape[1], shape[0]), (height, width))


def _reorientation(
    name: str, image: Any, affine: Affine | None, spacing_mm: tuple[float, float] | None
) -> _Reorient:
    """Return the function that reorients the file's array to the axes of the cine."""
    own = affine_of(image)
    if own is None:
        return lambda array: array
    if affine is None:
        # The cine states no orientation. Another program may have reoriented masks that Apical wrote for it:
        # they still match the plain affine that they were written with.
        plain = plain_affine(spacing_mm)

        def reorient_if_matching(array: NDArray[Any]) -> NDArray[Any]:
            found = reorient(array, own, plain)
            return array if found is None else found

        return reorient_if_matching
    if bytes(image.header["descrip"]).startswith(_OLD_MASKS) and not own[:3, 3].any():
        return lambda array: array

    def reorient_to_cine(array: NDArray[Any]) -> NDArray[Any]:
        found = reorient(array, own, affine)
        if found is None:
            raise LabelError(
                f"{name} does not match the position of the cine "
                f"({_describe_affine(own)}; cine: {_describe_affine(affine)}): "
                "save the labels with the affine of the cine, or as frame_0012.png files."
            )
        return found

    return reorient_to_cine


def _describe_affine(affine: Affine) -> str:
    """Return the axes, pixel size and origin of an affine as text for a message."""
    size = np.linalg.norm(affine[:3, :2], axis=0)
    axes = "".join(code or "?" for code in nib.orientations.aff2axcodes(affine))
    origin = ", ".join(f"{value:.4g}" for value in affine[:3, 3])
    return f"axes {axes}, pixels of {size[0]:.3g} x {size[1]:.3g} mm, origin {origin} mm"
