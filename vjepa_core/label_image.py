"""Label images: one uint8 value per pixel, and the masks derived from them.

0 is background, 1 to 254 are structures, 255 is unlabelled. An image with unlabelled pixels beside labelled
ones is a *scribble*: it labels some pixels of a structure without stating where the structure ends.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 0
UNLABELLED = 255

LabelImage = NDArray[np.uint8]
"""Label values, usually of shape (height, width)."""
Mask = NDArray[np.bool_]

_MAX_UNLABELLED = 0.02  # share of the pixels


def structure_mask(label: LabelImage) -> Mask:
    """Return True for pixels of a structure: neither background nor unlabelled.

    Parameters
    ----------
    label : ndarray of uint8, any shape

    Returns
    -------
    ndarray of bool, shape of `label`
    """
    return np.asarray((label != BACKGROUND) & (label != UNLABELLED))


def values_mask(label: LabelImage, values: Iterable[int]) -> Mask:
    """Return True for pixels with one of several values; like `numpy.isin`, but much faster.

    Parameters
    ----------
    label : ndarray of uint8, any shape
    values : iterable of int
        0 to 255.

    Returns
    -------
    ndarray of bool, shape of `label`
    """
    table = np.zeros(256, bool)
    table[list(values)] = True
    return table[label]


def structures_in(label: LabelImage) -> tuple[int, ...]:
    """Return the values of the structures that occur in a label image, in ascending order."""
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
    return tuple(int(value) for value in present if value not in (BACKGROUND, UNLABELLED))


def has_unlabelled(label: LabelImage) -> bool:
    """Return True if any pixel is unlabelled, as in a scribble."""
    return bool((label == UNLABELLED).any())


def is_outlined(label: LabelImage) -> bool:
    """Return True if an image shows complete structures, so that a mask can be compared with it.

    This requires at least one structure and less than 2 % unlabelled pixels.
    """
    return bool(structure_mask(label).any()) and float((label == UNLABELLED).mean()) < _MAX_UNLABELLED
