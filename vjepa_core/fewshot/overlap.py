"""How much two label images have in common."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from vjepa_core.label_image import UNLABELLED

AGREED = 0.75
"""`agreement` of the two nets of a head from which on they see the same heart.

Where there is none, each makes up its own. Eight apical cines of several makers 0.89 and more; parasternal
ones, a short axis and 20 lung videos 0.65 and less.
"""


def agreement(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean Dice over the structures that either of two label images (h, w) shows; 0 where there is none."""
    shown = np.union1d(one, other)
    return fmean([dice(one, other, int(value)) for value in shown if value] or [0.0])


def dice(mask: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    """2 |A and B| / (|A| + |B|) of one label value where the truth is known; 1 if neither has it."""
    said = truth != UNLABELLED
    a, b = (mask == value) & said, truth == value
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0
