"""Position of NIfTI images in space, and reorientation of arrays to the voxel axes of another image."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""Shape (4, 4): from voxel indices (x, y, z, 1) to millimetres to the right, anterior and superior."""

MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
"""Millimetres per unit of space."""
_MIN_VOLUME = 1e-12
"""Smallest volume of a voxel with usable directions, mm^3."""


def load_nifti(path: Path) -> Any:
    """Load a NIfTI image with nibabel, without its log messages about headers."""
    import nibabel as nib  # late: other formats do not need it

    for name in ("nibabel", "nibabel.global"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return nib.load(path)


def units_of(image: Any) -> tuple[str, str]:
    """Return the units of space and time of a NIfTI image; "unknown" also for an invalid code."""
    try:
        space, time = image.header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return str(space), str(time)


def plain_affine(spacing_mm: tuple[float, float] | None) -> Affine:
    """Return the affine of an image without a position: columns to the left and rows downwards, as in ITK.

    Parameters
    ----------
    spacing_mm : tuple of float or None
        Width and height of a pixel; None for 1 mm.

    Returns
    -------
    ndarray, shape (4, 4)
    """
    dx, dy = spacing_mm or (1.0, 1.0)
    return np.diag([-dx, -dy, 1.0, 1.0])


def affine_of(image: Any) -> Affine | None:
    """Return the affine of a NIfTI image in millimetres.

    Parameters
    ----------
    image : nibabel image

    Returns
    -------
    ndarray, shape (4, 4), or None
        None if the header has neither sform nor qform, for which nibabel invents an affine, or if the affine
        is degenerate.
    """
    header = image.header
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return None
    affine = np.array(image.affine, np.float64)
    affine[:3] *= MM_PER_UNIT.get(units_of(image)[0], 1.0)
    if not affine[:3, 2].any():  # a single plane, for which some programs omit the third direction
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < _MIN_VOLUME:
        return None
    return affine


def reorient(array: NDArray[Any], affine: Affine, target: Affine) -> NDArray[Any] | None:
    """Flip and exchange the axes of an array to match the voxel axes of another image.

    Parameters
    ----------
    array : ndarray, shape (i, j, k) or (i, j, k, t)
    affine : ndarray, shape (4, 4)
        Affine of the array.
    target : ndarray, shape (4, 4)
        Affine of the other image.

    Returns
    -------
    ndarray or None
        None if pixels of the first plane are half a pixel or more away from those of the other image: another
        position or pixel size, or an oblique direction. The step along the third axis is not compared,
        because it is the time in files with three axes.
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
    distances = np.linalg.norm((moved - target)[:3] @ corners, axis=0)
    pixel = np.linalg.norm(target[:3, :2], axis=0)
    return out if distances.max() < 0.5 * pixel.min() else None
