"""Does a drawn left heart have the shape of one in an apical view? Told from the label image alone.

A head draws something on any picture. Where the picture is no apical view, what it draws is torn, or lies
where no left heart would: its shape is far from those that people outlined. The distance is Mahalanobis's,
over ratios and relative places, so that zoom and brightness do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LV, MYO, LA = 1, 2, 3
N_NUMBERS = 11
_SMALLEST = 12  # pixels; less is no structure


@dataclass(frozen=True, eq=False)
class Shapes:
    """What outlined hearts are like.

    Attributes
    ----------
    mean : array
        (11,) of `numbers`.
    precision : array
        (11, 11): inverse of their covariance.
    limit : float
        Distance that hardly any outlined heart exceeds.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]
    limit: float

    @classmethod
    def of(cls, masks: NDArray[np.uint8], quantile: float = 0.99) -> Shapes:
        """Learn from label images (N, h, w) of apical views."""
        rows = np.stack([row for row in map(numbers, masks) if row is not None])
        mean, spread = rows.mean(0), np.cov(rows.T)
        # A little on the diagonal: a head's shapes vary in ways that outlines do not.
        loose = spread + 0.1 * np.diag(np.diag(spread)) + 1e-4 * np.eye(N_NUMBERS)
        precision = np.asarray(np.linalg.inv(loose), np.float64)
        found = cls(mean, precision, np.inf)
        limit = float(np.quantile([found.distance(mask) for mask in masks], quantile))
        return cls(mean, precision, limit)

    def distance(self, mask: NDArray[np.uint8]) -> float:
        """Of one label image, in standard deviations; infinite where a structure is missing."""
        row = numbers(mask)
        if row is None:
            return float("inf")
        apart = row - self.mean
        return float(np.sqrt(apart @ self.precision @ apart / N_NUMBERS))


def numbers(mask: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Shape of a label image (h, w) in (11,) numbers; None without cavity, myocardium and atrium.

    Logarithms of the parts' areas, the way from cavity to atrium, the cavity's axis, and how whole each part
    is and how well the wall encloses the cavity.
    """
    cavity, wall, atrium = ((mask == value).astype(np.uint8) for value in (LV, MYO, LA))
    areas = [int(part.sum()) for part in (cavity, wall, atrium)]
    if min(areas) < _SMALLEST:
        return None
    ventricle = cavity | wall
    size = float(np.sqrt(ventricle.sum()))
    lv, la = cv2.moments(cavity, binaryImage=True), cv2.moments(atrium, binaryImage=True)
    way = [(la[axis] / la["m00"] - lv[axis] / lv["m00"]) / size for axis in ("m10", "m01")]
    xx, yy, xy = (lv[name] / lv["m00"] for name in ("mu20", "mu02", "mu11"))
    lean = 0.5 * np.arctan2(2 * xy, yy - xx)  # of the long axis against the vertical
    root = np.hypot(yy - xx, 2 * xy)
    long_to_short = 0.5 * np.log((xx + yy + root + 1e-6) / max(xx + yy - root, 1e-6))
    rim = cv2.dilate(cavity, np.ones((3, 3), np.uint8)) & ~cavity & 1
    enclosed = float(((wall | atrium) & rim).sum() / rim.sum())
    whole = [_largest(part) for part in (cavity, wall, atrium)]
    return np.array(
        [
            np.log(areas[0] / areas[1]),
            np.log(areas[2] / (areas[0] + areas[1])),
            *way,
            lean,
            long_to_short,
            enclosed,
            min(whole),
            _solid(cavity),
            _solid(ventricle),
            _solid(atrium),
        ]
    )


def _largest(part: NDArray[np.uint8]) -> float:
    """Share of the largest connected piece."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(part)
    return float(stats[1:, cv2.CC_STAT_AREA].max() / stats[1:, cv2.CC_STAT_AREA].sum())


def _solid(part: NDArray[np.uint8]) -> float:
    """Area over that of the convex hull."""
    hull = cv2.convexHull(cv2.findNonZero(part))
    return float(part.sum() / max(cv2.contourArea(hull), 1.0))
