"""How much two label images have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vjepa_core.fewshot.study import UNLABELLED


def dice(mask: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    """2 |A and B| / (|A| + |B|) of one label value where the truth is known; 1 if neither has it."""
    said = truth != UNLABELLED
    a, b = (mask == value) & said, truth == value
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0
