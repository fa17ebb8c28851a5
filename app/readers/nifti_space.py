"""Where a NIfTI image lies in space, and arrays brought onto the pixels of another image by their affines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""(4, 4), from voxel indices (x, y, z, 1) to millimetres towards right, anterior and superior."""

_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
_MIN_VOLUME = 1e-12  # mm3: a voxel below this has no usable directions


def load_nifti(path: Path) -> Any:
    """Load a NIfTI image with nibabel, without what it logs about oddities of headers."""
    import nibabel as nib  # here: opening a cine of another format must not wait for it

    for name in ("nibabel", "nibabel.global"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return nib.load(path)


def units_of(image: Any) -> tuple[str, str]:
    """Units of space and time of a NIfTI image, "unknown" also where the header's code is none of NIfTI's."""
    try:
        space, time = image.header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return space, time


def plain_affine(spacing_mm: tuple[float, float] | None) -> Affine:
    """Affine of a picture that states no place: columns to the left and rows downwards, as ITK has it.

    Parameters
    ----------
    spacing_mm
        Width and height of a pixel; None counts as 1 mm.
    """
    dx, dy = spacing_mm or (1.0, 1.0)
    return np.diag([-dx, -dy, 1.0, 1.0])


def affine_of(image: Any) -> Affine | None:
    """Affine that a NIfTI image states, in millimetres; None where its header states none.

    Parameters
    ----------
    image
        As nibabel loads it. A header with neither sform nor qform leaves the orientation open, although
        nibabel makes up an affine for it.
    """
    header = image.header
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return None
    affine = np.array(image.affine, np.float64)
    affine[:3] *= _MM.get(units_of(image)[0], 1.0)
    if not affine[:3, 2].any():  # a single plane, whose writer left the third direction out
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < _MIN_VOLUME:
        return None
    return affine


def onto(array: NDArray[Any], affine: Affine, target: Affine) -> NDArray[Any] | None:
    """Bring an array onto the voxel axes of another image by flipping and exchanging its axes.

    Parameters
    ----------
    array
        (i, j, k) or (i, j, k, t).
    affine, target
        Of the array and of the other image.

    Returns
    -------
    array or None
        With the axes in the order and direction of the other image. None where the pixels of its first
        plane lie half a pixel or more away from those of the other image: another place, size of pixel or
        an oblique direction. The length of the step along the third axis is not compared, because files
        of three axes keep the time there.
    """
    import nibabel as nib

    to_target = np.linalg.inv(target) @ affine
    if not np.isfinite(to_target).all():
        return None
    orientation = nib.orientations.io_orientation(to_target)
    if np.isnan(orientation).any():
        return None
    moved = affine @ nib.orientations.inv_ornt_aff(orientation, array.shape[:3])
    out = np.asarray(nib.orientations.apply_orientation(array, orientation))
    width, height = out.shape[:2]
    corners = np.array([[x, y, 0, 1] for x in (0, width - 1) for y in (0, height - 1)], np.float64).T
    apart = np.linalg.norm((moved - target)[:3] @ corners, axis=0)
    pixel = np.linalg.norm(target[:3, :2], axis=0)
    return out if apart.max() < 0.5 * pixel.min() else None
