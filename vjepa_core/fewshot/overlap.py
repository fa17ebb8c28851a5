"""Overlap of two label images."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from vjepa_core.label_image import UNLABELLED

MIN_AGREEMENT = 0.75
"""Minimum `agreement` of the two nets of a head on apical views.

On other images, their predictions differ more. Eight apical cines of several manufacturers had 0.89 or more;
parasternal and short-axis cines and 20 lung videos 0.65 or less.
"""


def agreement(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Compute the mean Dice of two label images (h, w) over all structures in either; 0 if there are none."""
    present = np.union1d(one, other)
    return fmean([dice(one, other, int(value)) for value in present if value] or [0.0])


def dice(mask: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    """Compute 2 |A and B| / (|A| + |B|) of one label value on labelled pixels; 1 if both are empty."""
    labelled = truth != UNLABELLED
    a, b = (mask == value) & labelled, truth == value
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0
