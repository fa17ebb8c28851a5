"""Shape model of the left heart in apical views, computed from label images.

A head predicts labels on any image. If the image is not an apical view, the predicted shapes are fragmented
or in unusual positions, and differ from manual outlines. The difference is measured as the Mahalanobis
distance of scale-invariant shape descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LV, MYO, LA = 1, 2, 3
N_DESCRIPTORS = 11
_MIN_PIXELS = 12  # a structure with fewer pixels counts as missing


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """Distribution of the shape descriptors of outlined hearts.

    Attributes
    ----------
    mean : ndarray
        Mean of `shape_descriptors`, shape (11,).
    precision : ndarray
        Inverse of their covariance, shape (11, 11).
    limit : float
        Distance that few outlined hearts exceed.
    """

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]
    limit: float

    @classmethod
    def fit(cls, masks: NDArray[np.uint8], quantile: float = 0.99) -> ShapeModel:
        """Fit the model to label images (N, h, w) of apical views.

        Parameters
        ----------
        masks : ndarray of uint8
            Label images, shape (N, h, w).
        quantile : float
            Fraction of the label images within `limit`.
        """
        rows = np.stack([row for row in map(shape_descriptors, masks) if row is not None])
        mean, covariance = rows.mean(0), np.cov(rows.T)
        # Regularised, because predicted shapes vary in more ways than outlines.
        regularised = covariance + 0.1 * np.diag(np.diag(covariance)) + 1e-4 * np.eye(N_DESCRIPTORS)
        precision = np.asarray(np.linalg.inv(regularised), np.float64)
        model = cls(mean, precision, np.inf)
        limit = float(np.quantile([model.distance(mask) for mask in masks], quantile))
        return cls(mean, precision, limit)

    def distance(self, mask: NDArray[np.uint8]) -> float:
        """Compute the distance in standard deviations; infinite if a structure is missing."""
        row = shape_descriptors(mask)
        if row is None:
            return float("inf")
        difference = row - self.mean
        return float(np.sqrt(difference @ self.precision @ difference / N_DESCRIPTORS))


def shape_descriptors(mask: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Compute the shape descriptors of a label image.

    Parameters
    ----------
    mask : ndarray of uint8
        Label image, shape (h, w).

    Returns
    -------
    ndarray or None
        Shape (11,): log ratios of the areas, vector from cavity to atrium relative to the size, inclination
        and elongation of the cavity, enclosure of the cavity by the wall, and connectedness and convexity of
        the parts. None if cavity, myocardium or atrium is missing.
    """
    cavity, wall, atrium = ((mask == value).astype(np.uint8) for value in (LV, MYO, LA))
    areas = [int(part.sum()) for part in (cavity, wall, atrium)]
    if min(areas) < _MIN_PIXELS:
        return None
    ventricle = cavity | wall
    size = float(np.sqrt(ventricle.sum()))
    lv, la = cv2.moments(cavity, binaryImage=True), cv2.moments(atrium, binaryImage=True)
    to_atrium = [(la[axis] / la["m00"] - lv[axis] / lv["m00"]) / size for axis in ("m10", "m01")]
    xx, yy, xy = (lv[name] / lv["m00"] for name in ("mu20", "mu02", "mu11"))
    inclination = 0.5 * np.arctan2(2 * xy, yy - xx)  # of the long axis from the vertical
    root = np.hypot(yy - xx, 2 * xy)
    elongation = 0.5 * np.log((xx + yy + root + 1e-6) / max(xx + yy - root, 1e-6))
    rim = cv2.dilate(cavity, np.ones((3, 3), np.uint8)) & ~cavity & 1
    enclosure = float(((wall | atrium) & rim).sum() / rim.sum())
    connectedness = [_largest_fraction(part) for part in (cavity, wall, atrium)]
    return np.array(
        [
            np.log(areas[0] / areas[1]),
            np.log(areas[2] / (areas[0] + areas[1])),
            *to_atrium,
            inclination,
            elongation,
            enclosure,
            min(connectedness),
            _solidity(cavity),
            _solidity(ventricle),
            _solidity(atrium),
        ]
    )


def _largest_fraction(part: NDArray[np.uint8]) -> float:
    """Return the area of the largest connected component as a fraction of all."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(part)
    return float(stats[1:, cv2.CC_STAT_AREA].max() / stats[1:, cv2.CC_STAT_AREA].sum())


def _solidity(part: NDArray[np.uint8]) -> float:
    """Return the area divided by that of the convex hull."""
    hull = cv2.convexHull(cv2.findNonZero(part))
    return float(part.sum() / max(cv2.contourArea(hull), 1.0))
