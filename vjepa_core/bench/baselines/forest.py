"""Random forests for pixel classification, on classical filters as in ilastik or features as in convpaint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vjepa_core.bench.baselines.base import (
    SIDE,
    Stopwatch,
    count_outputs,
    labels_from_probabilities,
    resize_images,
)
from vjepa_core.bench.camus import BenchError
from vjepa_core.errors import Cancelled
from vjepa_core.label_image import UNLABELLED

TREES = 100
MAX_PIXELS = 30_000
"""Maximum number of training pixels in all images; within an image, classes are balanced."""

PixelFeatures = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Computes the features (SIDE, SIDE, F), float32, of the pixels of an image (H, W), uint8."""


@dataclass(frozen=True)
class Forest:
    """Random forest of scikit-learn on pixel features, at 112 x 112 pixels.

    Attributes
    ----------
    name : str
        Name for the rows.
    describe : PixelFeatures
        Computes the features of pixels.
    trees : int
        Number of trees.
    """

    name: str
    describe: PixelFeatures
    trees: int = TREES

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> ForestModel:
        """Fit a forest, ignoring the budget; see `vjepa_core.bench.baselines.base.Baseline`."""
        classifier = _forest()(self.trees, n_jobs=-1, random_state=seed)
        watch, random = Stopwatch(), np.random.default_rng(seed)
        known, labels = [], []
        for image, mask in zip(images, resize_images(masks, labels=True), strict=True):
            if should_stop():
                raise Cancelled
            rows = _some_pixels(mask.ravel(), MAX_PIXELS // len(images), random)
            features = self.describe(image)
            known.append(features.reshape(-1, features.shape[-1])[rows])
            labels.append(mask.ravel()[rows])
        classifier.fit(np.concatenate(known), np.concatenate(labels))
        return ForestModel(
            classifier, self.describe, count_outputs(masks), self.trees, watch.seconds, f"{self.trees} trees"
        )


@dataclass
class ForestModel:
    """Fitted forest."""

    classifier: Any
    describe: PixelFeatures
    outputs: int
    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Predict label images (N, H, W)."""
        masks = []
        for image in images:
            features = self.describe(image)
            voted = self.classifier.predict_proba(features.reshape(-1, features.shape[-1]))
            maps = np.zeros((self.outputs, SIDE, SIDE), np.float32)
            maps[self.classifier.classes_] = voted.T.reshape(-1, SIDE, SIDE)
            masks.append(labels_from_probabilities(maps, images.shape[1:]))
        return np.stack(masks)


def filters(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute intensity, edges and texture (Hessian eigenvalues) at six scales, (SIDE, SIDE, 24)."""
    try:
        from skimage.feature import multiscale_basic_features
    except ImportError as error:
        raise BenchError(
            "The filters need scikit-image, which is not installed: pip install 'apical[bench]', "
            "or choose other rows."
        ) from error
    small = resize_images(image[None])[0]
    features = multiscale_basic_features(small, sigma_min=0.5, sigma_max=16)
    return np.asarray(features, np.float32)


def pixel_features(tokens_of: Callable[[NDArray[np.uint8]], Tensor]) -> PixelFeatures:
    """Return a function that computes pixel features from tokens of all depths, interpolated, and grey level.

    Parameters
    ----------
    tokens_of : callable
        Computes tokens (N, L, h, w, D) of images (N, H, W).
    """

    def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        tokens = tokens_of(image[None])[0].float()
        maps = tokens.permute(0, 3, 1, 2).flatten(0, 1)[None]
        fine = functional.interpolate(maps, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
        grey = torch.from_numpy(resize_images(image[None])).float() / 255
        return torch.cat((fine, grey)).movedim(0, -1).contiguous().numpy()

    return describe


def _some_pixels(
    labels: NDArray[np.uint8], max_pixels: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the indices of about `max_pixels` pixels, balanced over classes, at least one of each."""
    classes = [value for value in np.unique(labels) if value != UNLABELLED]
    share = max(1, max_pixels // max(1, len(classes)))
    chosen = [random.permutation(np.flatnonzero(labels == value))[:share] for value in classes]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)


def _forest() -> Any:
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise BenchError(
            "The forests need scikit-learn, which is not installed: pip install 'apical[bench]', "
            "or choose other rows."
        ) from error
    return RandomForestClassifier
