"""Interface of methods that are compared with the program's head."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.label_image import UNLABELLED

SIDE = 112
"""Side of the images and predictions of baselines in pixels, as for the logits of the program's head."""


class Model(Protocol):
    """Fitted baseline.

    Attributes
    ----------
    steps : int
        Number of steps of the fit; for a forest, number of trees.
    seconds : float
        Wall time of the fit.
    note : str
        Note for the reader of its row; may be empty.
    """

    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Predict label images (N, H, W) of grey images (N, H, W)."""
        ...


class Baseline(Protocol):
    """Method that learns segmentation from label images."""

    @property
    def name(self) -> str:
        """Name for the rows."""
        ...

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Model:
        """Fit a model to a few images.

        Parameters
        ----------
        images : ndarray of uint8
            Grey images, shape (N, H, W), N >= 1.
        masks : ndarray of uint8
            Label images, shape (N, H, W): 0 background, 1.. structures, 255 unlabelled.
        seed : int
            Seed; the model is reproducible on the same machine unless the budget ends the fit.
        budget_s : float, optional
            Maximum seconds; at least one step is done. Ignored by methods without steps, such as a forest.
        should_stop : callable
            Called between steps.

        Raises
        ------
        Cancelled
            If `should_stop` returned True.
        BenchError
            If a required library is not installed.
        """
        ...


def count_outputs(masks: NDArray[np.uint8]) -> int:
    """Return the number of outputs: background and structures up to the largest label value."""
    return 1 + int(np.where(masks == UNLABELLED, 0, masks).max())


def resize_images(images: NDArray[np.uint8], side: int = SIDE, *, labels: bool = False) -> NDArray[np.uint8]:
    """Resize images (N, H, W), or label images, to (N, side, side)."""
    interpolation = cv2.INTER_NEAREST if labels else cv2.INTER_AREA
    return np.stack([cv2.resize(image, (side, side), interpolation=interpolation) for image in images])


def labels_from_probabilities(
    probabilities: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Interpolate probabilities (K, h, w) to `shape` and return the label image of the largest."""
    maps = [cv2.resize(one, shape[::-1], interpolation=cv2.INTER_LINEAR) for one in probabilities]
    labels: NDArray[np.uint8] = np.stack(maps).argmax(0).astype(np.uint8)
    return labels


class Stopwatch:
    """Wall time of one fit, and the used fraction of its budget."""

    def __init__(self, budget_s: float | None = None) -> None:
        self._budget_s = budget_s
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    @property
    def share(self) -> float:
        """Used fraction of the budget; 0 without a budget."""
        return self.seconds / max(self._budget_s, 1e-9) if self._budget_s is not None else 0.0
