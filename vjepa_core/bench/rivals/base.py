"""What a rival of the program's head has to offer to be measured beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.label_image import UNLABELLED

SIDE = 112
"""Pixels of a side at which rivals see pictures and answer: that of the head's own answers."""


class Model(Protocol):
    """A fitted rival.

    Attributes
    ----------
    steps : int
        Steps of its fit; for a forest, its trees.
    seconds : float
        Wall clock of its fit.
    note : str
        What a reader of its row has to know; may be empty.
    """

    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label images (N, H, W) of grey pictures (N, H, W)."""
        ...


class Rival(Protocol):
    """Something that learns label images from label images.

    Attributes
    ----------
    name : str
        For the rows.
    """

    @property
    def name(self) -> str: ...

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Model:
        """Learn from a few pictures.

        Parameters
        ----------
        images : array
            (N, H, W) uint8, grey; N >= 1.
        masks : array
            (N, H, W) uint8: 0 background, 1.. structures, 255 where nobody said.
        seed : int
            The same seed gives the same model on the same machine, unless the budget ends the fit.
        budget_s : float, optional
            Most seconds; one step is always done. What fits in one go (a forest) takes no notice.
        should_stop : callable
            Asked between steps.

        Raises
        ------
        Cancelled
            If `should_stop` said yes.
        BenchError
            If its library is not installed.
        """
        ...


def outputs(masks: NDArray[np.uint8]) -> int:
    """Background and structures up to the largest label value there is."""
    return 1 + int(np.where(masks == UNLABELLED, 0, masks).max())


def shrink(pictures: NDArray[np.uint8], side: int = SIDE, *, labels: bool = False) -> NDArray[np.uint8]:
    """Pictures (N, H, W), or label images, squashed to (N, side, side)."""
    how = cv2.INTER_NEAREST if labels else cv2.INTER_AREA
    return np.stack([cv2.resize(picture, (side, side), interpolation=how) for picture in pictures])


def grown(probabilities: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Label image `shape` of probabilities (K, h, w): bilinear, then the largest."""
    maps = [cv2.resize(one, shape[::-1], interpolation=cv2.INTER_LINEAR) for one in probabilities]
    return np.stack(maps).argmax(0).astype(np.uint8)


class Stopwatch:
    """Wall clock of one fit and whether its budget is spent."""

    def __init__(self, budget_s: float | None = None) -> None:
        self._budget_s = budget_s
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    @property
    def share(self) -> float:
        """Of the budget that is spent; 0 without one."""
        return self.seconds / max(self._budget_s, 1e-9) if self._budget_s is not None else 0.0
